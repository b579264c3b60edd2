"""Where a loss or gradient that is not finite comes from: the failing step again, layer by layer, without compiling."""

import keras

from keras_vit.training.losses import Objective
from keras_vit.training.step import layer_seeds, split_state


def explain(state, recipe, batches, number, worker, teacher=None):
    """One sentence that names the first layer whose output or gradient is not finite.

    Args:
        state: with the weights that step `number` began with; `Guard` has kept them.
        batches: this worker's training batches of that step, in the order of `data.training_batches`.
        worker: `order.Worker`, all of whose numbers enter the seeds of the layers.
        teacher: as the step has it.
    """
    seeds, _ = split_state(state.model)
    objective = Objective(state.model, recipe)
    for i, batch in enumerate(batches):
        part, replica = divmod(i, worker.replicas)
        replica += worker.index * worker.replicas
        draw = (number * recipe.grad_accum_steps + part) * worker.count * worker.replicas + replica
        values = layer_seeds(recipe.seed, draw, len(seeds))
        with keras.StatelessScope(state_mapping=list(zip(seeds, values))):
            found = first_not_finite(objective, batch, teacher(batch[0]) if teacher else None, state.guard.scale)
        if found:
            return found
    return "computed again layer by layer, everything on this worker is finite"


def first_not_finite(objective, batch, taught=None, scale=1.0):
    """In words, the first layer, or what comes before any layer; None if everything is finite."""
    import tensorflow as tf

    model = objective.model
    probe = keras.Model(model.inputs, [*model.outputs, *(layer.output for layer in model.layers)])
    with tf.GradientTape() as tape:
        results = probe(batch[0], training=True)
        heads = results[: len(model.outputs)]
        losses, _ = objective.judge(heads if objective.two_heads else heads[0], batch, taught)
        loss = tf.reduce_mean(losses) * scale
    outputs = dict(zip((layer.name for layer in model.layers), results[len(heads) :]))
    if not _finite(batch[0]):
        return "the pictures of the batch are not finite"
    if taught is not None and not _finite(taught):
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
    """Whether all values of a tensor, or of a structure of them, are finite; whole numbers and None are."""
    import tensorflow as tf

    tensors = [x for x in tf.nest.flatten(values) if x is not None and x.dtype.is_floating]
    return all(bool(tf.reduce_all(tf.math.is_finite(x))) for x in tensors)
