"""Decoding in a served graph: an image that cannot be decoded does not affect the others of its batch.

TensorFlow graphs have no try statement. A data set of one image that ignores errors, followed by a black image, has the
same effect; without the data set's own optimisations it costs less than half a millisecond per image.
"""

import tensorflow as tf

from keras_vit.preprocessing import decode_image, resize


def decode_or_skip(encoded, spec):
    """Decode and prepare images.

    Args:
        encoded: string (B).
        spec: the model's preprocessing.

    Returns:
        (images float32 (B, H, W, 3) in [0, 255], bool (B)): whether each could be decoded. An image that exceeds the
        limits of `keras_vit.system.limits` counts as one that cannot.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False

    def one(image):
        attempt = tf.data.Dataset.from_tensors(image)
        attempt = attempt.map(lambda b: (resize(decode_image(b), spec), True)).ignore_errors()
        stand_in = tf.data.Dataset.from_tensors((tf.zeros((*spec.size, 3)), False))
        return attempt.concatenate(stand_in).take(1).with_options(options).get_single_element()

    with tf.device("CPU:0"):
        result = (tf.TensorSpec((*spec.size, 3), tf.float32), tf.TensorSpec((), tf.bool))
        return tf.map_fn(one, encoded, fn_output_signature=result)
