"""Where a loss or gradient that is not finite comes from: repeats the failing step, layer by layer, not compiled."""

import keras

from keras_vit.training.step.losses import Objective
from keras_vit.training.step.model import views
from keras_vit.training.step.step import layer_seeds, split_state


def explain(state, recipe, batches, number, worker, teacher=None, **labels):
    """Name, in a clause, the first layer whose output or gradient is not finite.

    Args:
        state: with the weights before step `number`; `LossScale` has left them unchanged.
        batches: this worker's micro-batches of that step, in the order of `batches.training_batches`.
        worker: a `sampler.Worker`; the seeds of the layers depend on it.
        teacher: that of the training step.
        labels: class_weights and multi_label, as `Objective` takes them.
    """
    seeds, _ = split_state(state.model)
    objective = Objective(state.model, recipe, **labels)
    for i, batch in enumerate(batches):
        micro_batch, replica = divmod(i, worker.replicas)
        replica += worker.index * worker.replicas
        draw = (number * recipe.grad_accum_steps + micro_batch) * worker.count * worker.replicas + replica
        values = layer_seeds(recipe.seed, draw, len(seeds))
        with keras.StatelessScope(state_mapping=list(zip(seeds, values))):
            log_probs = teacher(batch[0]) if teacher else None
            found = first_not_finite(objective, batch, log_probs, state.loss_scale.scale)
        if found:
            return found
    return "computed again layer by layer, everything on this worker is finite"


def first_not_finite(objective, batch, teacher_log_probs=None, scale=1.0):
    """A clause that names the first value that is not finite; None if everything is finite."""
    import tensorflow as tf

    model = objective.model
    probe = keras.Model(model.inputs, [*model.outputs, *(layer.output for layer in model.layers)])
    size = tuple(batch[0].shape[1:3])
    if size != tuple(model.input_shape[1:3]):
        (probe,) = views(probe, [size]).values()
    with tf.GradientTape() as tape:
        results = probe(batch[0], training=True)
        heads = results[: len(model.outputs)]
        losses, _ = objective.of_outputs(heads if objective.two_heads else heads[0], batch, teacher_log_probs)
        loss = tf.reduce_mean(losses) * scale
    outputs = dict(zip((layer.name for layer in model.layers), results[len(heads) :]))
    if not _finite(batch[0]):
        return "the images of the batch are not finite"
    if teacher_log_probs is not None and not _finite(teacher_log_probs):
        return "the teacher's output is not finite"
    for name, output in outputs.items():
        if not _finite(output):
            return f"the output of layer {name!r} is the first that is not finite"
    if not _finite(losses):
        return "all outputs of layers are finite, the loss is not"
    weights = {layer.name: [v.value for v in layer.trainable_variables] for layer in model.layers}
    gradients = tape.gradient(loss, {name: [outputs[name], weights[name]] for name in outputs})
    for name in reversed(outputs):
        if not _finite(gradients[name]):
            return f"on the way back, the gradient at layer {name!r} is the first that is not finite"
    return None


def _finite(values):
    """Whether all values of a tensor, or of a structure of tensors, are finite; integers and None count as finite."""
    import tensorflow as tf

    tensors = [x for x in tf.nest.flatten(values) if x is not None and x.dtype.is_floating]
    return all(bool(tf.reduce_all(tf.math.is_finite(x))) for x in tensors)
