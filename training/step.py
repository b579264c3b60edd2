"""One step of training and of evaluation under a tf.distribute strategy.

A step of training has three acts. Each replica computes the gradient of its pictures, in one part or several
(gradient accumulation), in a function of its own; the sums over the parts are summed over the replicas, in the
step's only all-reduce; each device updates its copy of the weights. Where the recipe asks for XLA, it compiles the
first and the last. `strategy.run` is given a plain function that calls the compiled ones: given the tf.function
itself, the distribution fails.

Random numbers: Keras keeps a seed per layer, which starts equal on every replica, so that all would drop the same.
Here every part of a step gives every layer a fresh seed drawn from (run's seed, step, part, replica). Nothing is
remembered from step to step, which is also what makes a resumed run exact.
Letters: B batch on one replica, K classes.
"""

import keras

from keras_vit.training.losses import Objective, count_correct, cross_entropy

METRICS = ("loss", "correct", "norm", "applied", "halted", "stop")


def make_train_step(strategy, state, recipe, teacher=None):
    """Return step(batches, number, stop) -> METRICS over the whole batch, float32 (6,).

    `batches` are grad_accum_steps training batches, as the distributed dataset gives them; `number` counts the steps;
    `stop` is 1.0 on a worker that was asked to stop, else 0.0. Of the metrics, `loss` is a mean over the pictures,
    `correct` counts them, `norm` is the gradient's before clipping; `applied` and `halted` are 1.0 or 0.0, by `Guard`;
    `stop` counts the replicas of workers that were asked to.
    """
    import tensorflow as tf

    replicas, parts = strategy.num_replicas_in_sync, recipe.grad_accum_steps
    gradient, update = _make_gradient(state, recipe, replicas * parts), _make_update(state, recipe)
    seeds, _ = split_state(state.model)
    anchor = state.model.trainable_variables[0].value

    def replica_step(batches, number, stop):
        context = tf.distribute.get_replica_context()
        replica, sums = tf.cast(context.replica_id_in_sync_group, tf.int64), None
        for part, batch in enumerate(batches):
            draw = (number * parts + part) * replicas + replica
            with tf.control_dependencies(tf.nest.flatten(sums) if sums else []):  # one at a time: memory for one part
                taught = teacher(batch[0]) if teacher else None
                new = gradient(batch, taught, layer_seeds(recipe.seed, draw, len(seeds)))
            sums = tf.nest.map_structure(tf.add, sums, new) if sums else new
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, {**sums, "stop": tf.identity(stop)})
        return context.merge_call(update_all, args=(sums,))

    def update_all(strategy, sums):
        return strategy.extended.update(anchor, update_device, args=(sums,), group=False)[0]

    def update_device(anchor, sums):  # a function of its own for each device, whose variables it holds
        return tf.function(update, jit_compile=True, autograph=False)(sums) if recipe.xla else update(sums)

    @tf.function(autograph=False)
    def step(batches, number, stop):
        return strategy.experimental_local_results(strategy.run(replica_step, args=(batches, number, stop)))[0]

    return step


def _make_gradient(state, recipe, shares):
    """A function (batch, taught, seeds of the layers) -> what one of `shares` parts of a step adds to its sums."""
    import tensorflow as tf

    seeds, others = split_state(state.model)
    objective, variables = Objective(state.model, recipe), state.model.trainable_variables

    @tf.function(jit_compile=recipe.xla, autograph=False)
    def gradient(batch, taught, seed_values):
        mapping = list(zip(seeds, tf.unstack(seed_values, num=len(seeds))))
        with tf.GradientTape() as tape:
            with keras.StatelessScope(state_mapping=mapping) as scope:
                losses, logits = objective(batch, taught)
            loss = tf.reduce_mean(losses) / shares
            scaled = loss * state.guard.scale
        moved = {v.path: scope.get_current_value(v) for v in others}
        return {
            "gradients": tape.gradient(scaled, [v.value for v in variables]),
            "moved": {path: value / shares for path, value in moved.items() if value is not None},
            "loss": loss,
            "correct": count_correct(batch, logits),
        }

    return gradient


def _make_update(state, recipe):
    """A function that updates one device by the sums over all parts and replicas, and returns METRICS."""
    import tensorflow as tf

    variables, (_, others) = state.model.trainable_variables, split_state(state.model)
    moving = {v.path: v for v in others}

    def update(sums):
        norm, factor = tf.linalg.global_norm(sums["gradients"]) / state.guard.scale, 1 / state.guard.scale
        if recipe.clip_grad is not None:
            factor *= tf.minimum(recipe.clip_grad / norm, 1.0)
        applies = state.guard.judge(sums["loss"], norm)
        state.optimizer.update([g * factor for g in sums["gradients"]], variables, applies)
        for path, mean in sums["moved"].items():  # moving averages of batch normalisation
            moving[path].assign(tf.where(applies, mean, moving[path]))
        if state.ema is not None:
            state.ema.update(state.optimizer.iterations, applies)
        judged = tf.cast(applies, tf.float32), state.guard.halted.value
        return tf.stack([sums["loss"], sums["correct"], norm, *judged, sums["stop"]])

    return update


def make_eval_step(strategy, state, *, xla=True):
    """Return step(images, labels, weights) -> sums over the batch: loss, top-1, top-5 and weight, (4,).

    The weights that are judged are the moving average, where there is one.
    """
    import tensorflow as tf

    @tf.function(jit_compile=xla, autograph=False)
    def measure(images, labels, weights):
        with keras.StatelessScope(state_mapping=state.ema.mapping() if state.ema else []):
            logits = tf.cast(state.model(images, training=False), tf.float32)
        losses = cross_entropy(labels, logits)
        own, number = tf.gather(logits, labels[:, None], batch_dims=1), tf.range(logits.shape[1])  # B 1, K
        ties = (logits == own) & (number > labels[:, None])  # of equals, the lower number comes first
        behind = (logits < own) | ties  # nothing is behind NaN
        beaten = tf.reduce_sum(tf.cast(behind, tf.int32), axis=1)
        top1, top5 = (tf.cast(beaten >= max(logits.shape[1] - k, 0), tf.float32) for k in (1, 5))
        columns = tf.stack([losses, top1, top5, tf.ones_like(losses)], axis=1)  # B 4
        return tf.reduce_sum(columns * weights[:, None], axis=0)

    def replica_step(images, labels, weights):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, measure(images, labels, weights))

    @tf.function(autograph=False)
    def step(images, labels, weights):
        return strategy.experimental_local_results(strategy.run(replica_step, args=(images, labels, weights)))[0]

    return step


def split_state(model):
    """The model's non-trainable variables: seeds of its layers, and all others."""
    state = model.non_trainable_variables
    seeds = [v for v in state if v.path.endswith("seed_generator_state")]
    return seeds, [v for v in state if not v.path.endswith("seed_generator_state")]


def layer_seeds(seed, draw, layers):
    """Seeds for `layers` layers, int64 (layers, 2): a function of the run's seed and of the draw's number."""
    import tensorflow as tf

    start = tf.stack([tf.constant(seed, tf.int64), draw])
    values = tf.random.stateless_uniform((layers, 2), start, minval=0, maxval=2**31 - 1, dtype=tf.int32, alg="philox")
    return tf.cast(values, tf.int64)
