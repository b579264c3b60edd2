"""Exponential moving average of the weights, which is often a point more accurate than the weights themselves."""

import keras


class WeightEMA:
    """average <- d average + (1 - d) weights after every update, d = min(decay, (1 + t) / (10 + t)) after t updates.

    The warm-up of d removes the initial weights, which would otherwise dominate a run of fewer than about
    1 / (1 - decay) updates. Moving averages of batch normalisation are averaged too, as in timm; frozen weights and
    constant tables are not.
    """

    def __init__(self, model, decay):
        """Start at the model's weights; call it in the scope of the strategy."""
        moving = [v for v in model.non_trainable_variables if v.path.split("/")[-1].startswith("moving_")]
        self.decay, self.weights = decay, [*model.trainable_variables, *moving]
        self.averages = [
            keras.Variable(v.numpy(), dtype=v.dtype, trainable=False, name="average") for v in self.weights
        ]

    def update(self, updates, applies):
        """Average in the weights after `updates` updates; nothing changes if the scalar `applies` is false."""
        import tensorflow as tf

        t = tf.cast(updates, tf.float32)
        share = 1 - tf.minimum(self.decay, (1 + t) / (10 + t))
        share = tf.where(applies, share, 0.0)
        for average, weight in zip(self.averages, self.weights):
            average.assign_add(share * (weight - average))

    def mapping(self):
        """(weight, average) pairs, with which keras.StatelessScope runs the model on the averages."""
        return [(weight, average.value) for weight, average in zip(self.weights, self.averages)]
