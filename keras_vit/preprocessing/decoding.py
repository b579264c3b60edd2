"""From encoded bytes to pixels: in a TensorFlow graph, and by Pillow.

Letters: B batch, H W grid; an image as it comes is H0 W0 C.
"""

import struct

import numpy as np

from keras_vit.preprocessing.exif import orientation, turn_upright
from keras_vit.preprocessing.resizing import resize

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")  # files that `decode_image` reads
PILLOW_SUFFIXES = (*IMAGE_SUFFIXES, ".webp", ".tif", ".tiff")  # files that `read_image` reads
BROKEN_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what PIL raises


def decode_image(encoded):
    """Bytes of a JPEG, PNG, BMP or GIF (first frame) -> uint8 (H0, W0, 3), in TensorFlow.

    JPEG is decoded with the accurate transform, which gives PIL's pixels exactly (TensorFlow's default is off by 1 of
    255 on average), and its EXIF orientation is applied. Transparency is dropped.
    """
    import tensorflow as tf

    def jpeg():
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
        return turn_upright(image, orientation(encoded))

    def other():
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(encoded), jpeg, other), [None, None, 3])


def decode_and_resize(encoded, spec):
    """Encoded images, string (B,) -> float32 (B, H, W, 3), whole numbers in [0, 255].

    For data pipelines and serving graphs; it does not normalise.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):  # neither the decoders nor the antialiased resize exist for GPUs
        return tf.map_fn(
            lambda one: resize(decode_image(one), spec),
            encoded,
            fn_output_signature=tf.TensorSpec((*spec.size, 3), tf.float32),
        )


def read_image(path):
    """An image's path, or an open binary file -> numpy uint8 (H0, W0, 3), RGB, upright by EXIF.

    Raises:
        ValueError: naming the file if it is truncated or not an image.
        OSError: if it cannot be opened.
    """
    from PIL import Image, ImageOps

    name = getattr(path, "name", path)
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # 16 bits: keep the upper 8, as decode_image does
                image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            return np.array(image.convert("RGB"))
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*BROKEN_IMAGE, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} cannot be read as an image: {error}") from error
