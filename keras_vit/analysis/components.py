"""Principal components of the vectors that a model gives to the places of images (DINOv2, arXiv:2304.07193, Fig. 1).

Places of the same kind of thing have similar vectors, in one image and across images; three components, drawn as red,
green and blue, show it.
"""

import keras
import numpy as np
from keras import ops

from keras_vit.analysis.attention import in_batches
from keras_vit.analysis.gradients import require_images
from keras_vit.analysis.maps import as_map, stage_maps
from keras_vit.models.blocks import require_blocks


def patch_components(model, images, components=3, of=None):
    """The vectors of all places of the last map, behind the final norm, in their principal components.

    Components are those of all images together, so that equal colours mean equal things in them.

    Args:
        model: a model of keras_vit.models, with or without its classifier.
        images: (B, H0, W0, C), prepared as the model takes them.
        components: how many.
        of: (B, H, W) of bool, the places whose components are taken, e.g. those of a foreground; all if not given.

    Returns:
        (B, H, W, components) float32, first those with the largest share of the variance; each has mean 0 and unit
        variance over the places it was taken from. The place of largest magnitude is positive.

    Raises:
        ValueError: for models without blocks, images that do not fit, fewer than two places, and for more components
            than there are channels or less than one.
    """
    require_blocks("patch_components", model)
    require_images("patch_components", model, images)
    features = keras.Model(model.inputs[0], _last_map(model))
    maps = [ops.convert_to_numpy(features(batch, training=False)) for batch in in_batches(images)]
    vectors = np.concatenate(maps).astype("float64")  # B H W C
    chosen = np.ones(vectors.shape[:3], bool) if of is None else np.asarray(of, bool)
    _check(vectors, chosen, components)
    mean = vectors[chosen].mean(axis=0)
    _, values, directions = np.linalg.svd(vectors[chosen] - mean, full_matrices=False)
    scales = np.maximum(values[:components], np.finfo("float64").tiny) / np.sqrt(chosen.sum())
    scores = (vectors - mean) @ (directions[:components].T / scales)
    taken = scores[chosen]
    largest = taken[np.abs(taken).argmax(axis=0), np.arange(components)]
    return (scores * np.where(largest < 0, -1, 1)).astype("float32")


def _last_map(model):
    """Symbolic (B, H, W, C): behind the final norm, where that comes before pooling; else of the last block."""
    stage, last = list(stage_maps(model).items())[-1]
    norms = [layer.output for layer in model.layers if layer.name == "norm" and len(layer.output.shape) > 2]
    return as_map(model, norms[0], stage) if norms else last


def _check(vectors, chosen, components):
    most = min(vectors.shape[-1], int(chosen.sum()))
    if chosen.shape != vectors.shape[:3] or most < 2:
        raise ValueError(
            f"of: expected at least two of the places {vectors.shape[:3]}. Received: {int(chosen.sum())} of "
            f"{chosen.shape}"
        )
    if not 1 <= components <= most:
        raise ValueError(f"components: expected 1 to {most}. Received: components={components}")
