"""Random erasing: a rectangle of an image is replaced by noise.

Zhong et al., "Random Erasing Data Augmentation", arXiv:1708.04896, Algorithm 1, in timm's mode "pixel": in the
normalised image, every value of the rectangle is drawn from the standard normal distribution.
Letters: B batch, H W grid, C channels. A box is (top, left, height, width) in pixels.
"""

import math

TRIES = 10  # attempts to draw a rectangle that fits; the paper repeats until one does
DRAWS = 4 * TRIES
AREA = (0.02, 1 / 3)  # of the rectangle, as a fraction of the image's
ASPECT = (0.3, 1 / 0.3)  # its height over its width


def choose_boxes(draws, height, width):
    """Choose for each image the first box that fits; area and the logarithm of the aspect ratio are uniform.

    Args:
        draws: float32 (B, DRAWS), uniform in [0, 1).
        height, width: of the images.
    Returns:
        int32 (B, 4); the box's height and width are 0 if none of the tries fits.
    """
    import tensorflow as tf

    area, aspect, down, right = tf.unstack(tf.reshape(draws, (-1, TRIES, 4)), axis=2)  # B tries
    area = (AREA[0] + (AREA[1] - AREA[0]) * area) * (height * width)
    aspect = tf.exp(math.log(ASPECT[0]) + math.log(ASPECT[1] / ASPECT[0]) * aspect)
    h, w = tf.round(tf.sqrt(area * aspect)), tf.round(tf.sqrt(area / aspect))
    fits = tf.cast((h < height) & (w < width), tf.float32)
    top, left = tf.floor((height - h + 1) * down), tf.floor((width - w + 1) * right)
    boxes = tf.stack([top, left, h, w], axis=2) * fits[..., None]  # B tries 4
    return tf.cast(tf.gather(boxes, tf.argmax(fits, axis=1), batch_dims=1), tf.int32)


def erase(images, erased, boxes, seeds):
    """Fill the boxes of some of the images with noise.

    Args:
        images: float32 (B, H, W, C), normalised.
        erased: bool (B,), whether to erase each image's box.
        boxes: int32 (B, 4).
        seeds: int64 (B, 2), of the noise.
    Returns:
        As `images`.
    """
    import tensorflow as tf

    def fill(inputs):
        image, (top, left, height, width), seed = inputs[0], tf.unstack(inputs[1]), inputs[2]
        noise = tf.random.stateless_normal((height, width, image.shape[-1]), seed, alg="philox")
        rows = image[top : top + height]
        rows = tf.concat([rows[:, :left], noise, rows[:, left + width :]], axis=1)
        return tf.concat([image[:top], rows, image[top + height :]], axis=0)

    which = tf.where(erased)  # usually few; only these are copied
    inputs = tuple(tf.gather_nd(values, which) for values in (images, boxes, seeds))
    filled = tf.map_fn(fill, inputs, fn_output_signature=tf.TensorSpec(images.shape[1:], images.dtype))
    return tf.tensor_scatter_nd_update(images, which, filled)
