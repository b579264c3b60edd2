"""Which updates may be applied: dynamic loss scaling, and the halt at the first value that is not finite."""

import keras

FIRST_SCALE = 2.0**15
GROW_AFTER = 2000  # updates without overflow


class Guard:
    """Judges every update on the device, so that nothing waits for the host.

    float16 cannot hold gradients below 6e-8. There the loss is multiplied by a scale, and the gradient divided by it
    (arXiv:1710.03740, Sec. 3.2); the scale halves when a gradient overflows, whose update is left out, and doubles
    after GROW_AFTER updates that did not. In the other precisions it stays 1.

    A loss that is not finite, or a gradient that is not even at scale 1, halts: no later update is applied either, so
    that the weights stay those the failing step has seen, until the trainer looks and says what happened.
    """

    def __init__(self, precision):
        """Make the variables; call it in the scope of the strategy."""
        self.scaling = precision == "float16"
        self.scale = _scalar(FIRST_SCALE if self.scaling else 1.0, "scale")
        self.good = _scalar(0.0, "good")
        self.halted = _scalar(0.0, "halted")

    @property
    def variables(self):
        """What a checkpoint keeps: the scale, and the number of updates since it changed."""
        return [self.scale, self.good]

    def judge(self, loss, norm):
        """Whether the update with this loss and norm of the gradient may be applied, a boolean scalar."""
        import tensorflow as tf

        overflow = ~tf.math.is_finite(norm)
        excused = overflow & (self.scale > 1.0)  # the scale may be to blame
        failed = ~tf.math.is_finite(loss) | (overflow & ~excused)
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
