"""Resizing and centre crop of evaluation, in TensorFlow, as PIL, torchvision and timm do it to within rounding.

Letters: B batch, H W grid, C channels; an image as it comes is H0 W0 C.
"""

import functools
import math


def resize(image, spec):
    """Resize and crop an image, or a batch of images of one size, to the spec; TensorFlow, graph or eager.

    The short side becomes floor(size / crop_pct) and the centre is cut out; "squash" stretches both sides instead. The
    filter is widened for shrinking (antialiasing). PIL resizes along W first, then along H, and rounds to whole numbers
    in [0, 255] after each. With the same order and rounding here, the mean difference from PIL on photographs is below
    0.01 of 255; both axes at once, with a single rounding, leave 0.15.

    Note: Pillow 13 takes H first where that is much less work ("squash" of tall images); earlier versions, which the
    published accuracies were measured with, never do.

    Args:
        image: uint8 or float in [0, 255], (H0, W0, C) or (..., H0, W0, C); H0 and W0 may be unknown in a graph.
        spec: a `Spec`.

    Returns:
        float32 (H, W, C) or (..., H, W, C), whole numbers in [0, 255].

    Raises:
        ValueError: for fewer than three axes.
    """
    import tensorflow as tf

    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8:  # whose float copy would be the largest thing in memory
        image = tf.cast(image, tf.float32)
    if image.shape.rank is None or image.shape.rank < 3:
        raise ValueError(f"Images are (..., H0, W0, C). Received shape: {image.shape}.")
    H0, W0 = tf.unstack(tf.shape(image)[-3:-1])
    height, width = _resized(H0, W0, spec)
    H, W = spec.size
    top, left = _margin(height, H), _margin(width, W)
    x = tf.reshape(image, tf.concat([[-1], tf.shape(image)[-3:]], 0))
    x = tf.transpose(x, (0, 2, 1, 3))  # B W0 H0 C
    x = _resample_rows(x, width, spec.interpolation)[:, left : left + W]
    x = tf.transpose(x, (0, 2, 1, 3))  # B H0 W C
    x = _resample_rows(x, height, spec.interpolation)[:, top : top + H]
    x = tf.reshape(x, tf.concat([tf.shape(image)[:-3], spec.size, tf.shape(image)[-1:]], 0))
    return tf.ensure_shape(x, [*image.shape[:-3], H, W, image.shape[-1]])


def resize_array(image, spec):
    """The same for one numpy image, uint8 (H0, W0, 3) -> numpy float32 (H, W, 3), on the CPU.

    It is traced once for images of all sizes, which takes half of the time of eager operations away.
    """
    return _traced(spec)(image).numpy()


@functools.lru_cache(maxsize=16)
def _traced(spec):
    import tensorflow as tf

    def on_cpu(image):
        with tf.device("CPU:0"):
            return resize(image, spec)

    return tf.function(on_cpu, [tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)


def _resized(H0, W0, spec):
    """Height and width between resizing and cropping, rounded as torchvision and timm do."""
    import tensorflow as tf

    h, w = (math.floor(side / spec.crop_pct) for side in spec.size)
    if spec.crop_mode == "squash":
        return h, w
    if h == w:  # torchvision's Resize: the long side is rounded down
        short = tf.minimum(H0, W0)
        return h * H0 // short, h * W0 // short
    H0, W0 = tf.cast(H0, tf.float64), tf.cast(W0, tf.float64)  # timm's ResizeKeepRatio: rounded
    ratio = tf.minimum(H0 / h, W0 / w)
    return tf.cast(tf.round(H0 / ratio), tf.int32), tf.cast(tf.round(W0 / ratio), tf.int32)


def _margin(length, crop):
    """Pixels before a centre crop: half of the surplus, rounded half to even as Python does."""
    import tensorflow as tf

    return tf.cast(tf.round(tf.cast(length - crop, tf.float32) / 2), tf.int32)


def _resample_rows(image, rows, interpolation):
    """(B, N, M, C) -> (B, rows, M, C), whole numbers in [0, 255].

    What is not resampled becomes one long axis, which the operation weighs as a whole: with an axis of three channels
    it would take each pixel by itself, five times as long, for the same sums.
    """
    import tensorflow as tf

    B, N, M, C = tf.unstack(tf.shape(image))
    lines = tf.reshape(image, tf.stack([B, N, 1, M * C]))
    lines = tf.image.resize(lines, tf.stack([rows, 1]), method=interpolation, antialias=True)
    lines = tf.clip_by_value(tf.round(tf.cast(lines, tf.float32)), 0.0, 255.0)  # bicubic overshoots at edges
    return tf.reshape(lines, tf.stack([B, rows, M, C]))
