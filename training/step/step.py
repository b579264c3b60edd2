"""One step of training and of evaluation under a tf.distribute strategy.

A training step has three phases:

1. Each replica computes the gradient of its images, micro-batch after micro-batch (gradient accumulation), in a
   function of its own.
2. The sums over the micro-batches are summed over the replicas, in the step's only all-reduce.
3. Each device updates its copy of the weights.

XLA, if it is used, compiles 1 and 3. `strategy.run` is given a plain function that calls the compiled ones: given the
tf.function itself, the distribution fails.

Random numbers: Keras has a seed per layer that is the same on every replica at the start, so that all replicas would
drop the same units. Here every micro-batch gives every layer a new seed drawn from (run's seed, step, micro-batch,
replica). No random state is carried from step to step, so that a resumed run is exact.
Letters: B batch on one replica, K classes.
"""

import functools

import keras

from keras_vit.training.step.losses import Objective, binary_cross_entropy, count_correct, cross_entropy

METRICS = ("loss", "correct", "norm", "applied", "halted", "stop")


def make_train_step(
    strategy, state, recipe, teacher=None, *, compiled=False, sizes=(), class_weights=None, multi_label=False
):
    """Return the function step(micro_batches, number, stop) -> METRICS over the whole batch, float32 (6,).

    - micro_batches: grad_accum_steps training batches, from the distributed dataset.
    - number: of the step, from 0, int64.
    - stop: 1.0 on a worker that received a signal to stop, else 0.0.

    Of the metrics, `loss` is the mean over the images, `correct` their count, `norm` that of the gradient before
    clipping; `applied` and `halted` are 1.0 or 0.0, see `LossScale`; `stop` counts the replicas of workers that are to
    stop.

    Args:
        teacher: as `distillation.open_teacher` returns it.
        compiled: whether XLA compiles the gradient and the update.
        sizes: further sizes (H, W) of images besides the model's. Each has a graph of its own, which is made, and
            compiled, when its first batch comes.
        class_weights, multi_label: as `Objective` takes them.
    Raises:
        ValueError: if the model takes no images of one of the sizes.
    """
    with strategy.scope():
        objective = Objective(state.model, recipe, sizes, class_weights, multi_label)

    @functools.cache  # and no function of several graphs, of whose number TensorFlow warns
    def step_of(shape):
        return _make_step_of_one_size(strategy, state, recipe, objective, teacher, compiled)

    def step(micro_batches, number, stop):
        images = strategy.experimental_local_results(micro_batches[0][0])[0]
        return step_of(tuple(images.shape))(micro_batches, number, stop)

    return step


def _make_step_of_one_size(strategy, state, recipe, objective, teacher, compiled):
    import tensorflow as tf

    replicas, accumulated = strategy.num_replicas_in_sync, recipe.grad_accum_steps
    gradient = _make_gradient(state, objective, replicas * accumulated, compiled)
    update = _make_update(state, recipe)
    seeds, _ = split_state(state.model)
    anchor = state.model.trainable_variables[0].value

    def replica_step(micro_batches, number, stop):
        context = tf.distribute.get_replica_context()
        replica, sums = tf.cast(context.replica_id_in_sync_group, tf.int64), None
        for i, batch in enumerate(micro_batches):
            draw = (number * accumulated + i) * replicas + replica
            with tf.control_dependencies(tf.nest.flatten(sums) if sums else []):  # in turn: memory for one at a time
                log_probs = teacher(batch[0]) if teacher else None
                new = gradient(batch, log_probs, layer_seeds(recipe.seed, draw, len(seeds)))
            sums = tf.nest.map_structure(tf.add, sums, new) if sums else new
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, {**sums, "stop": tf.identity(stop)})
        return context.merge_call(update_all, args=(sums,))

    def update_all(strategy, sums):
        return strategy.extended.update(anchor, update_device, args=(sums,), group=False)[0]

    def update_device(anchor, sums):  # a function per device, because it captures the variables of that device
        return tf.function(update, jit_compile=True, autograph=False)(sums) if compiled else update(sums)

    @tf.function(autograph=False)
    def step(micro_batches, number, stop):
        return strategy.experimental_local_results(strategy.run(replica_step, args=(micro_batches, number, stop)))[0]

    return step


def _make_gradient(state, objective, shares, compiled):
    """Return a function (batch, teacher_log_probs, layers' seeds) -> what a micro-batch adds to the sums of its step.

    Args:
        shares: micro-batches of a step over all replicas.
    """
    import tensorflow as tf

    (seeds, others), variables = split_state(state.model), state.model.trainable_variables

    @tf.function(jit_compile=compiled, autograph=False)
    def gradient(batch, teacher_log_probs, seed_values):
        mapping = list(zip(seeds, tf.unstack(seed_values, num=len(seeds))))
        with tf.GradientTape() as tape:
            with keras.StatelessScope(state_mapping=mapping) as scope:
                losses, logits = objective(batch, teacher_log_probs)
            loss = tf.reduce_mean(losses) / shares
            scaled = loss * state.loss_scale.scale
        moved = {v.path: scope.get_current_value(v) for v in others}
        return {
            "gradients": tape.gradient(scaled, [v.value for v in variables]),
            "moved": {path: value / shares for path, value in moved.items() if value is not None},
            "loss": loss,
            "correct": count_correct(batch, logits),
        }

    return gradient


def _make_update(state, recipe):
    """Return a function that updates one device by the sums over micro-batches and replicas, and returns METRICS."""
    import tensorflow as tf

    variables, (_, others) = state.model.trainable_variables, split_state(state.model)
    moving = {v.path: v for v in others}

    def update(sums):
        scale = state.loss_scale.scale
        norm, factor = tf.linalg.global_norm(sums["gradients"]) / scale, 1 / scale
        if recipe.clip_grad is not None:
            factor *= tf.minimum(recipe.clip_grad / norm, 1.0)
        applies = state.loss_scale.update(sums["loss"], norm)
        state.optimizer.apply([g * factor for g in sums["gradients"]], variables, applies)
        for path, mean in sums["moved"].items():  # moving averages of batch normalisation
            moving[path].assign(tf.where(applies, mean, moving[path]))
        if state.ema is not None:
            state.ema.update(state.optimizer.iterations, applies)
        flags = tf.cast(applies, tf.float32), state.loss_scale.halted.value
        return tf.stack([sums["loss"], sums["correct"], norm, *flags, sums["stop"]])

    return update


def make_eval_step(strategy, state, *, compiled=False, multi_label=False):
    """Return the function step(images, labels, weights) -> what it measures of the whole batch.

    Of one label per image, `measure_sums`; of several, (losses (B,), logits (B, K), labels (B, K), weights (B,)) of all
    replicas, because mean average precision ranks all images of a split. The moving average of the weights is evaluated
    if there is one.
    """
    import tensorflow as tf

    @tf.function(jit_compile=compiled, autograph=False)
    def run(images, labels, weights):
        with keras.StatelessScope(state_mapping=state.ema.mapping() if state.ema else []):
            logits = tf.cast(state.model(images, training=False), tf.float32)
        if multi_label:
            return binary_cross_entropy(labels, logits), logits, labels, weights
        return measure_sums(labels, logits, weights)

    def replica_step(images, labels, weights):
        context, measured = tf.distribute.get_replica_context(), run(images, labels, weights)
        if multi_label:
            return tuple(context.all_gather(values, axis=0) for values in measured)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, measured)

    @tf.function(autograph=False)
    def step(images, labels, weights):
        replicas = strategy.run(replica_step, args=(images, labels, weights))
        return tf.nest.map_structure(lambda values: strategy.experimental_local_results(values)[0], replicas)

    return step


def measure_sums(labels, logits, weights):
    """Sums over images of one label each, float32 (4 + 3 K,).

    Loss, top-1, top-5 and number of images; then per class the images that are rightly predicted, those that are
    predicted, and those that have it.

    Args:
        labels: int32 (B,).
        logits: float32 (B, K).
        weights: float32 (B,), 0 for an image that does not count.
    """
    import tensorflow as tf

    K = logits.shape[1]
    own, number = tf.gather(logits, labels[:, None], batch_dims=1), tf.range(K)  # B 1, K
    ties = (logits == own) & (number > labels[:, None])  # of equal scores, the lower class number ranks first
    behind = (logits < own) | ties  # false for NaN
    beaten = tf.reduce_sum(tf.cast(behind, tf.int32), axis=1)
    top1, top5 = (tf.cast(beaten >= max(K - k, 0), tf.float32) for k in (1, 5))
    columns = tf.stack([cross_entropy(labels, logits), top1, top5, tf.ones_like(top1)], axis=1)  # B 4
    predicted = tf.argmax(logits, axis=1, output_type=tf.int32)
    right = tf.cast(predicted == labels, tf.float32)
    counts = [
        tf.math.unsorted_segment_sum(w * weights, c, K) for w, c in ((right, labels), (1.0, predicted), (1.0, labels))
    ]
    return tf.concat([tf.reduce_sum(columns * weights[:, None], axis=0), *counts], axis=0)


def split_state(model):
    """The model's non-trainable variables: (seeds of its layers, all others)."""
    state = model.non_trainable_variables
    seeds = [v for v in state if v.path.endswith("seed_generator_state")]
    return seeds, [v for v in state if not v.path.endswith("seed_generator_state")]


def layer_seeds(seed, draw, layers):
    """Seeds for `layers` layers, int64 (layers, 2), determined by the run's seed and the number of the draw."""
    import tensorflow as tf

    start = tf.stack([tf.constant(seed, tf.int64), draw])
    values = tf.random.stateless_uniform((layers, 2), start, minval=0, maxval=2**31 - 1, dtype=tf.int32, alg="philox")
    return tf.cast(values, tf.int64)
