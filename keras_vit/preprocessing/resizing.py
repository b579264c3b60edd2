"""Resizing and centre crop of evaluation, in TensorFlow, as PIL, torchvision and timm do it to within rounding.

Letters: B batch, H W grid, C channels; an image as it comes is H0 W0 C.
"""

import functools
import math
from typing import NamedTuple

from keras_vit.system import startup

KERNELS = {"bilinear": ("triangle", 1.0), "bicubic": ("keyscubic", 2.0)}  # TensorFlow's name, and its reach in pixels
LARGE = 2**22  # pixels of an image, or between its two passes, for which memory counts more than time


def resize(image, spec):
    """Resize and crop an image, or a batch of images of one size, to the spec; TensorFlow, graph or eager.

    The short side becomes floor(size / crop_pct) and the centre is cut out; "squash" stretches both sides instead. The
    filter is widened for shrinking (antialiasing). PIL resizes along W first, then along H, and rounds to whole numbers
    in [0, 255] after each. With the same order and rounding here, the mean difference from PIL on photographs is below
    0.01 of 255; both axes at once, with a single rounding, leave 0.15.

    Only what the crop is made of is resized, so that memory is bounded by the image and the result: a column of 4,000
    pixels, enlarged as a whole, would take gigabytes.

    Note: Pillow 13 takes H first where that is much less work ("squash" of tall images); earlier versions, which the
    published accuracies were measured with, never do. Here only images do so that would take 50 MB between the two.

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
    rows, columns = _windows(*tf.unstack(tf.shape(image)[-3:-1]), spec)
    x = image[..., rows.start : rows.end, columns.start : columns.end, :]
    x = tf.reshape(x, tf.concat([[-1], tf.shape(x)[-3:]], 0))
    x = _resample(x, rows, columns, may_be_tall=spec.crop_mode == "squash")
    x = tf.reshape(x, tf.concat([tf.shape(image)[:-3], spec.size, tf.shape(image)[-1:]], 0))
    return tf.ensure_shape(x, [*image.shape[:-3], *spec.size, image.shape[-1]])


def resize_array(image, spec):
    """The same for one numpy image, uint8 (H0, W0, 3) -> numpy float32 (H, W, 3), on the CPU.

    It is traced once for images of all sizes, which takes half of the time of eager operations away. A large image is
    narrowed strip by strip, since TensorFlow would copy all of it.
    """
    (H0, W0), (H, W) = image.shape[:2], spec.size
    tall = spec.crop_mode == "squash" and H0 * W > max(LARGE, H * W0)
    if H0 * W0 <= LARGE or tall:
        return _traced(spec)(image).numpy()
    import tensorflow as tf

    with tf.device("CPU:0"):
        rows, columns = _windows(tf.constant(H0), tf.constant(W0), spec)
        x = image[int(rows.start) : int(rows.end), int(columns.start) : int(columns.end)]
        count = max(LARGE // x.shape[1] // 4, 1)
        strips = [_resample_columns(x[None, top : top + count], columns) for top in range(0, len(x), count)]
        return _resample_rows(tf.concat(strips, 1), rows)[0].numpy()


@functools.lru_cache(maxsize=16)
def _traced(spec):
    import tensorflow as tf

    def on_cpu(image):
        with tf.device("CPU:0"):
            return resize(image, spec)

    traced = tf.function(on_cpu, [tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
    with startup.quiet():  # oneDNN says once that it leaves integers to Eigen
        traced(tf.zeros((1, 1, 3), tf.uint8))
    return traced


def _windows(H0, W0, spec):
    """What the crop is made of along H and along W, two `_Window`s."""
    return [_Window.of(*lengths, spec) for lengths in zip((H0, W0), _resized(H0, W0, spec), spec.size)]


def _resample(x, rows, columns, may_be_tall):
    """(B, H0, W0, C) -> (B, H, W, C): along W first, but for what is `may_be_tall` and is."""
    import tensorflow as tf

    def wide_first():
        return _resample_rows(_resample_columns(x, columns), rows)

    def tall_first():
        return _resample_columns(_resample_rows(x, rows), columns)

    if not may_be_tall:
        return wide_first()
    H0, W0 = (tf.cast(side, tf.float64) for side in tf.unstack(tf.shape(x)[1:3]))
    tall = (H0 * columns.crop > LARGE) & (H0 * columns.crop > rows.crop * W0)
    return tf.cond(tall, tall_first, wide_first)


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


class _Window(NamedTuple):
    """What the centre crop of a resized side is made of: the pixels [start, end) of the side before, and how."""

    start: object  # int32
    end: object  # int32
    crop: int  # pixels of the crop
    scale: object  # float32: length after resizing / before
    translation: object  # float32: of the result, in its pixels
    kernel: str

    @classmethod
    def of(cls, before, after, crop, spec):
        """The window of a side of `before` pixels that is resized to `after`, of which the centre is cropped."""
        import tensorflow as tf

        kernel, support = KERNELS[spec.interpolation]
        first = _margin(after, crop, spec.crop_rounding)
        pixel = tf.cast(before, tf.float64) / tf.cast(after, tf.float64)  # one of the result, in pixels of the image
        reach = support * tf.maximum(pixel, 1.0) + 2  # of the widened filter, and 2 for rounding
        start, end = (tf.cast(first + n, tf.float64) * pixel for n in (0, crop))
        start = tf.cast(tf.maximum(tf.floor(start - reach), 0.0), tf.int32)
        end = tf.minimum(tf.cast(tf.math.ceil(end + reach), tf.int32), before)
        scale = tf.cast(after, tf.float32) / tf.cast(before, tf.float32)
        translation = tf.cast(tf.cast(start, tf.float64) / pixel - tf.cast(first, tf.float64), tf.float32)
        return cls(start, end, crop, scale, translation, kernel)


def _margin(length, crop, rounding=None):
    """Pixels before a centre crop: half of the surplus, rounded half to even as Python does, or down."""
    import tensorflow as tf

    if rounding == "down":
        return (length - crop) // 2
    return tf.cast(tf.round(tf.cast(length - crop, tf.float64) / 2), tf.int32)


def _resample_columns(image, window):
    """(B, N, M, C) -> (B, N, crop, C), whole numbers in [0, 255]."""
    import tensorflow as tf

    return tf.transpose(_resample_rows(tf.transpose(image, (0, 2, 1, 3)), window), (0, 2, 1, 3))


def _resample_rows(image, window):
    """(B, N, M, C) -> (B, crop, M, C), whole numbers in [0, 255].

    What is not resampled becomes one long axis, which the operation weighs as a whole: with an axis of three channels
    it would take each pixel by itself, five times as long, for the same sums.
    """
    import tensorflow as tf

    B, N, M, C = tf.unstack(tf.shape(image))
    lines = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(image, tf.stack([B, N, 1, M * C])),
        size=(window.crop, 1),
        scale=tf.stack([window.scale, 1.0]),
        translation=tf.stack([window.translation, 0.0]),
        kernel_type=window.kernel,
        antialias=True,
    )
    lines = tf.clip_by_value(tf.round(lines), 0.0, 255.0)  # bicubic overshoots at edges
    return tf.reshape(lines, tf.stack([B, window.crop, M, C]))
