"""One step of training and of evaluation under a tf.distribute strategy.

Each replica computes its gradient in a function compiled by XLA; sum over the replicas, clipping and the update
happen outside it. `strategy.run` is given a plain function that calls the compiled one: given the tf.function
itself, the distribution fails.

Random numbers: Keras keeps a seed per layer, which starts equal on every replica, so that all would drop the same.
Here a step gives every layer a fresh seed drawn from (run's seed, step, replica). Nothing is remembered from step to
step, which is also what makes a resumed run exact.
Letters: B batch on one replica, K classes.
"""

import keras


def make_train_step(strategy, model, optimizer, recipe):
    """Return step(images, labels, number) -> {"loss", "correct", "norm"}, scalars over the whole batch.

    `loss` is the mean with label smoothing, `correct` counts pictures, `norm` is the gradient's before clipping.
    """
    import tensorflow as tf

    seeds, others = split_state(model)
    replicas = strategy.num_replicas_in_sync

    @tf.function(jit_compile=recipe.xla)
    def forward_backward(images, labels, seed_values):
        mapping = list(zip(seeds, tf.unstack(seed_values, num=len(seeds))))
        with tf.GradientTape() as tape:
            with keras.StatelessScope(state_mapping=mapping) as scope:
                logits = model(images, training=True)
            losses = cross_entropy(labels, logits, recipe.smoothing)
            loss = tf.reduce_mean(losses) / replicas
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        updates = [scope.get_current_value(v) for v in others]  # moving averages, where there are any
        return loss, count_correct(labels, logits), gradients, updates

    def replica_step(images, labels, number):
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        seed_values = layer_seeds(recipe.seed, number * replicas + replica, len(seeds))
        loss, correct, gradients, updates = forward_backward(images, labels, seed_values)
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(gradients)
        if recipe.clip_grad is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, recipe.clip_grad, use_norm=norm)
        optimizer.apply(gradients, model.trainable_variables)
        _assign_mean(context, [(v, u) for v, u in zip(others, updates) if u is not None])
        return loss, correct, norm

    @tf.function
    def step(images, labels, number):
        loss, correct, norm = strategy.run(replica_step, args=(images, labels, number))
        total = tf.distribute.ReduceOp.SUM
        return {
            "loss": strategy.reduce(total, loss, axis=None),
            "correct": strategy.reduce(total, correct, axis=None),
            "norm": strategy.reduce(tf.distribute.ReduceOp.MEAN, norm, axis=None),
        }

    return step


def make_eval_step(strategy, model, *, xla=True):
    """Return step(images, labels, weights) -> sums over the batch: loss, top-1, top-5 and weight, (4,)."""
    import tensorflow as tf

    @tf.function(jit_compile=xla)
    def measure(images, labels, weights):
        logits = tf.cast(model(images, training=False), tf.float32)
        losses = cross_entropy(labels, logits)
        own = tf.gather(logits, labels[:, None], batch_dims=1)  # B 1
        beaten = tf.reduce_sum(tf.cast(logits < own, tf.int32), axis=1)  # ties and NaN beat nobody
        top1, top5 = (tf.cast(beaten >= max(logits.shape[1] - k, 0), tf.float32) for k in (1, 5))
        columns = tf.stack([losses, top1, top5, tf.ones_like(losses)], axis=1)  # B 4
        return tf.reduce_sum(columns * weights[:, None], axis=0)

    def replica_step(images, labels, weights):
        return measure(images, labels, weights)

    @tf.function
    def step(images, labels, weights):
        sums = strategy.run(replica_step, args=(images, labels, weights))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    return step


def cross_entropy(labels, logits, smoothing=0.0):
    """Cross entropy per picture, (B,), against 1 - smoothing on the label plus smoothing / K everywhere."""
    import tensorflow as tf

    logits = tf.cast(logits, tf.float32)
    log_p = tf.nn.log_softmax(logits)  # B K
    own = tf.gather(log_p, labels[:, None], batch_dims=1)[:, 0]  # B
    return -(1 - smoothing) * own - smoothing * tf.reduce_mean(log_p, axis=1)


def count_correct(labels, logits):
    """How many pictures have their own class first."""
    import tensorflow as tf

    first = tf.argmax(logits, axis=1, output_type=labels.dtype)
    return tf.reduce_sum(tf.cast(first == labels, tf.float32))


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


def _assign_mean(context, updates):
    """Assign moving averages, averaged over the replicas."""
    import tensorflow as tf

    if not updates:
        return
    variables = [variable for variable, _ in updates]
    values = context.all_reduce(tf.distribute.ReduceOp.MEAN, [value for _, value in updates])

    def assign(strategy, values):
        for variable, value in zip(variables, values):
            strategy.extended.update(variable.value, lambda v, x: v.assign(x), args=(value,))

    context.merge_call(assign, args=(values,))
