"""Resizing and centre crop of evaluation, in TensorFlow, as PIL, torchvision and timm do it to within rounding.

Letters: B batch, H W grid, C channels; an image as it comes is H0 W0 C.
"""

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
    if image.shape.rank > 4:
        flat = tf.reshape(image, tf.concat([[-1], tf.shape(image)[-3:]], 0))
        shape = tf.concat([tf.shape(image)[:-3], spec.size, tf.shape(image)[-1:]], 0)
        return tf.reshape(resize(flat, spec), shape)
    H0, W0 = tf.unstack(tf.shape(image)[-3:-1])
    height, width = _resized(H0, W0, spec)
    H, W = spec.size
    top, left = _margin(height, H), _margin(width, W)
    image = _resample(image, H0, width, spec.interpolation)[..., left : left + W, :]
    image = _resample(image, height, W, spec.interpolation)[..., top : top + H, :, :]
    return tf.ensure_shape(image, [*image.shape[:-3], H, W, image.shape[-1]])


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


def _resample(image, height, width, interpolation):
    import tensorflow as tf

    size = tf.stack([height, width])
    image = tf.cast(tf.image.resize(image, size, method=interpolation, antialias=True), tf.float32)
    return tf.clip_by_value(tf.round(image), 0.0, 255.0)  # bicubic overshoots at edges
