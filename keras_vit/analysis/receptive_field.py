"""Effective receptive field of a place of a map -- Luo et al., arXiv:1701.04128."""

import keras
import numpy as np
from keras import ops

from keras_vit.analysis.gradients import require_images, require_tensorflow
from keras_vit.analysis.maps import block_map, stage_maps
from keras_vit.models.blocks import require_blocks

BATCH = 8  # images whose activations are kept at once


def effective_receptive_field(model, images, layer=None):
    """|d y / d pixel| of the central place y of a map, averaged over images.

    y is the sum of the place's channels, each with a random sign: behind a LayerNorm the plain sum hardly changes.
    Of an even number of rows or columns the central one is that after the middle.

    Args:
        model: a model of keras_vit.models, with or without its classifier.
        images: (B, H, W, C), prepared as the model takes them. Noise gives what the paper draws; more images give a
            smoother field.
        layer: name of the block whose map is meant, e.g. "stage2_block5"; None for the last map of the model.

    Returns:
        (H, W) float32, for each pixel the share, summed over its channels, of the whole: the sum is 1.

    Raises:
        ValueError: for models without blocks, images that do not fit, names that are no block's, and where the
            gradient is 0 everywhere.
        RuntimeError: on backends other than TensorFlow.
    """
    require_tensorflow("effective_receptive_field")
    require_blocks("effective_receptive_field", model)
    images = require_images("effective_receptive_field", model, images)
    x = list(stage_maps(model).values())[-1] if layer is None else block_map(model, layer)
    to_map, random = keras.Model(model.inputs[0], x), np.random.default_rng(0)
    field = sum(_absolute_gradient(to_map, images[i : i + BATCH], random) for i in range(0, len(images), BATCH))
    if not field.any():
        raise ValueError(
            f"effective_receptive_field: the central place of {layer or 'the last map'} of {model.name!r} does not "
            "change with the images; its gradient is 0 everywhere"
        )
    return field / field.sum()


def _absolute_gradient(to_map, images, random):
    """Of the central place, summed over images and channels.  (B, H, W, C) -> (H, W)."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(images)
        x = to_map(images, training=False)
        place = ops.cast(x[:, x.shape[1] // 2, x.shape[2] // 2], "float32")  # B C
        y = place * random.choice((-1.0, 1.0), place.shape).astype("float32")
    return ops.convert_to_numpy(ops.sum(ops.abs(tape.gradient(y, images)), axis=(0, 3)))


def central_square(field, share):
    """The smallest square around the middle of a field that holds `share` of it.

    Args:
        field: (H, W) of shares, as `effective_receptive_field` gives.
        share: in (0, 1].

    Returns:
        row and column of its central pixel, where as much of the field lies before as after it; its side in pixels,
        of which some may lie outside the image.
    """
    row, column = (int(np.searchsorted(np.cumsum(field.sum(axis)), field.sum() / 2)) for axis in (1, 0))
    rows, columns = np.indices(field.shape)
    rings = np.maximum(abs(rows - row), abs(columns - column))  # the n-th holds pixels n steps away
    held = np.cumsum(np.bincount(rings.ravel(), field.ravel()))
    radius = int(np.searchsorted(held, share * held[-1] * (1 - 1e-6)))
    return row, column, 2 * radius + 1
