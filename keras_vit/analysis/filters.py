"""Principal components of the filters of a model's first layer (ViT, arXiv:2010.11929, Fig. 7)."""

import numpy as np
from keras import layers, ops

from keras_vit.models.hybrid import StdConv2D
from keras_vit.models.t2t import TokenStep
from keras_vit.models.tnt import LegacyPixelEmbed, PixelEmbed

SMALLEST = 1e-6  # singular values below this share of the largest are rounding


def patch_filters(model, components=28):
    """Principal components of the filters that read the image, first those with the largest share of the variance.

    Filters are those of the patch embedding (ViT, DeiT, Swin, CoaT, PVT), of the stem (ConvNeXt; hybrid ViT,
    standardised as at run time), of TNT's pixel embedding, and in T2T-ViT the projection to keys, queries and values
    of the first soft split's windows, with the scale of the LayerNorm before it.

    Args:
        model: a model of keras_vit.models, or another whose first layer with weights is a Conv2D.
        components: at most; fewer if there are no more filters than that, or entries of a filter.

    Returns:
        (n, P, P, C) float32, orthonormal; the entry of largest magnitude is positive. Units are those of the
        normalised image.

    Raises:
        ValueError: for other models, and components below 1.
    """
    if components < 1:
        raise ValueError(f"components: expected at least 1. Received: components={components}")
    filters = _filters(model)  # P P C D
    rows = filters.reshape(-1, filters.shape[-1]).T.astype("float64")  # D P*P*C
    _, values, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    directions = directions[values > SMALLEST * max(values[0], np.finfo("float64").tiny)][:components]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], axis=1)
    return (directions * np.sign(largest)).reshape(-1, *filters.shape[:-1]).astype("float32")


def _filters(model):
    """(P, P, C, D) of the first layer that has weights."""
    first = next((layer for layer in model.layers if layer.weights), None)
    if isinstance(first, StdConv2D):
        kernel = first.standardised_kernel()
    elif isinstance(first, layers.Conv2D):
        kernel = first.kernel
    elif isinstance(first, (PixelEmbed, LegacyPixelEmbed)):
        kernel = first.proj.kernel
    elif isinstance(first, TokenStep):
        side = model.get_layer("split1").kernel
        kernel = ops.expand_dims(first.norm1.gamma, -1) * first.qkv.kernel  # P*P*C D
        kernel = ops.reshape(kernel, (side, side, -1, kernel.shape[-1]))  # P P C D
    else:
        raise ValueError(
            "patch_filters: expected a model whose first layer with weights is a filter bank on the image. Received: "
            f"{model.name!r}, which begins with {getattr(first, 'name', None)!r} ({type(first).__name__})"
        )
    return ops.convert_to_numpy(ops.cast(kernel, "float32"))
