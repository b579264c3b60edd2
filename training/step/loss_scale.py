"""Dynamic loss scaling, and the halt at the first loss or gradient that is not finite."""

import keras

FIRST_SCALE = 2.0**15
GROW_AFTER = 2000  # updates without overflow


class LossScale:
    """The scale of the loss, and on the device, without waiting for the host, whether an update is applied.

    float16 cannot represent gradients below 6e-8. There the loss is multiplied by a scale, and the gradient divided by
    it (arXiv:1710.03740, Sec. 3.2). If a gradient overflows, its update is skipped and the scale halves; after
    GROW_AFTER updates without overflow it doubles. In the other precisions it stays 1.

    A loss that is not finite, or a gradient that is not finite at scale 1, halts training: no later update is applied
    either, so that the weights remain those of the failing step until the trainer fetches the metrics and reports it.
    """

    def __init__(self, precision):
        """Create the variables; call it in the scope of the strategy."""
        self.scaling = precision == "float16"
        self.scale = _scalar(FIRST_SCALE if self.scaling else 1.0, "scale")
        self.good = _scalar(0.0, "good")
        self.halted = _scalar(0.0, "halted")

    @property
    def variables(self):
        """What a checkpoint stores: the scale, and the number of updates since it changed."""
        return [self.scale, self.good]

    def update(self, loss, norm):
        """Adapt the scale to the loss and the gradient norm of an update.

        Returns:
            Whether the update is to be applied, a boolean scalar.
        """
        import tensorflow as tf

        overflow = ~tf.math.is_finite(norm)
        recoverable = overflow & (self.scale > 1.0)  # a smaller scale may avoid it
        failed = ~tf.math.is_finite(loss) | (overflow & ~recoverable)
        self.halted.assign(tf.maximum(self.halted, tf.cast(failed, tf.float32)))
        if self.scaling:
            grown = self.good + 1 >= GROW_AFTER
            risen = tf.where(grown, 2 * self.scale, self.scale)
            good = tf.where(overflow | grown, 0.0, self.good + 1)
            self.scale.assign(tf.where(overflow, tf.maximum(self.scale / 2, 1.0), risen))
            self.good.assign(good)
        return ~overflow & (self.halted < 0.5)


def _scalar(value, name):
    return keras.Variable(value, dtype="float32", trainable=False, name=name)
