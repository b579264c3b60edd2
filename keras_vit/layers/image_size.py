"""What stands before a model that takes images of any size, or that pads them."""

import keras
from keras import layers

from keras_vit.layers.sizes import are_known, derived, pad_map, sizes


@keras.saving.register_keras_serializable("keras_vit")
class ImageSize(layers.Layer):
    """Refuses images of sizes that the layers behind it would cut, or pads them at the bottom and the right with zeros.

    Args:
        family: the model's, for errors.
        multiple: of which both sides must be multiples, in pixels.
        smallest: side that the model still runs on, in pixels.
        pad: whether to pad to the next multiple; other sizes are refused.
        native_size: (H, W) in pixels, multiples, of the images that the model's tables of positions are kept for.
    Input:   (B, H, W, C).      Output: (B, H', W', C), the same without padding.

    Raises:
        ValueError: for a size that is no multiple, or too small. In a TensorFlow graph of unknown size, an
            InvalidArgumentError when it runs.
    """

    def __init__(self, family, multiple, smallest, pad=False, native_size=None, **kwargs):
        super().__init__(**kwargs)
        self.family, self.multiple, self.smallest, self.pad = family, multiple, smallest, pad
        self.native_size = native_size and tuple(native_size)

    def call(self, x):
        H, W = sizes(x)[:2]
        if are_known((H, W)):
            self.check(H, W)
        else:
            x = self._asserted(x, H, W)
        return self._padded(x, -H % self.multiple, -W % self.multiple) if self.pad else x

    def check(self, height, width):
        """Raises for an image of a size that is not taken."""
        if not self.takes(height) or not self.takes(width):
            raise ValueError(f"{self.expected()}. Received: {height} x {width}")

    def takes(self, side):
        """Whether a side is long enough, and a multiple or padded to one; a number or a tensor."""
        after = side + -side % self.multiple
        enough = (side > 0) & (after >= self.smallest)
        return enough if self.pad else enough & (side % self.multiple == 0)

    def expected(self):
        """Which images are taken, in words."""
        least = max(self.smallest, self.multiple)
        if self.pad:
            least = max(1, self.smallest - self.multiple + 1)
            return f"{self.family}: expected images of at least {least} x {least} pixels"
        if self.multiple == 1:
            return f"{self.family}: expected images of at least {least} x {least} pixels"
        return (
            f"{self.family}: expected images whose height and width are multiples of {self.multiple}, the smallest "
            f"{least} x {least} pixels; a model that is built with dynamic_img_pad=True pads others"
        )

    def _asserted(self, x, height, width):
        """The images, which no layer gets before their size is checked: its own error would say less."""
        import tensorflow as tf

        taken = tf.logical_and(self.takes(height), self.takes(width))
        checked = tf.debugging.Assert(taken, [f"{self.expected()}. Received:", height, width])
        with tf.control_dependencies([checked]):
            return tf.identity(x)

    def _padded(self, x, bottom, right):
        if are_known((bottom, right)) and not bottom and not right:
            return x
        return pad_map(x, (0, bottom), (0, right))

    def compute_output_shape(self, shape):
        H, W = shape[1:3]
        if are_known((H, W)):
            self.check(H, W)
        if not self.pad:
            return shape
        up = [derived(lambda side: side + -side % self.multiple, side) for side in (H, W)]
        return (shape[0], *up, shape[3])
