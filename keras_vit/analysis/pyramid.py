"""Feature pyramids: the maps of several scales that detectors and segmenters read.

Levels carry KerasHub's names, "P2" to "P5": the map "P<n>" has a stride of 2**n pixels.
"""

import math

import keras
from keras import layers

from keras_vit.analysis.maps import stage_maps
from keras_vit.models.blocks import large_image, require_blocks, sizes_at

WIDTH = 256  # channels of each level of a simple feature pyramid, arXiv:2203.16527, Sec. 3
EPSILON = 1e-6


@keras.saving.register_keras_serializable("keras_vit")
class FeaturePyramid(keras.Model):
    """A functional model whose outputs are the maps of several scales, by level.

    Attributes:
        pyramid_outputs: {"P2": symbolic output, ...}, what KerasHub's detectors read, also after loading from a file.
    """

    @property
    def pyramid_outputs(self):
        finest = _level(self, self.outputs[0])
        return {f"P{level}": x for level, x in enumerate(self.outputs, finest)}


def feature_pyramid(model):
    """A functional model with the maps of four scales, {"P2": (B, H/4, W/4, C), ..., "P5": (B, H/32, W/32, C')}.

    Hierarchical models give the output of each stage as it is. Models of one resolution (ViT, isotropic ConvNeXt)
    get the simple feature pyramid of ViTDet (arXiv:2203.16527, Sec. 3): strided and transposed convolutions of the
    last block's map, new and to be trained, 256 channels a level.

    Args:
        model: a model of this library, with or without its classifier, fresh or loaded from a .keras file, of a fixed
            size or of any size. Patches of 14 pixels, as DINOv2's, become ones of 16 by `patch_size=16`.

    Returns:
        FeaturePyramid, a functional model that shares the layers of `model`.

    Raises:
        ValueError: for models without such maps and for patch sizes that are no power of two.
    """
    require_blocks("feature_pyramid", model)
    maps = list(stage_maps(model).values())
    if len(maps) > 1:
        outputs = {f"P{_level(model, x)}": x for x in maps}
    else:
        outputs = _simple_pyramid(maps[0], _level(model, maps[0]))
    return FeaturePyramid(model.input, outputs, name=f"{model.name}_pyramid")


def _level(model, x):
    """log2 of the stride of a map."""
    image = large_image(model)
    stride = image[0] / sizes_at(model, x, image)[1]
    level = round(math.log2(stride))
    if abs(stride / 2**level - 1) > 0.1:
        raise ValueError(
            f"feature_pyramid: expected a patch size that is a power of two. Received: {model.name!r} with a "
            f"stride of {stride:g} pixels; patches of 14 pixels become ones of 16 with patch_size=16"
        )
    return level


def _simple_pyramid(x, level):
    """Fig. 2c: every level from the same map, each by its own up- or downsampling."""
    return {f"P{p}": _resized_level(x, p, level - p) for p in range(2, 6)}


def _resized_level(x, p, doublings):
    for i in range(doublings):
        if i > 0:  # "LayerNorm and GELU between the two" (App. A.2)
            x = layers.LayerNormalization(epsilon=EPSILON, name=f"P{p}_up_norm{i}")(x)
            x = layers.Activation("gelu", name=f"P{p}_up_gelu{i}")(x)
        x = layers.Conv2DTranspose(max(WIDTH, x.shape[-1] // 2), 2, strides=2, name=f"P{p}_up{i}")(x)
    for i in range(-doublings):
        x = layers.MaxPooling2D(2, name=f"P{p}_down{i}")(x)
    for i, kernel in enumerate((1, 3)):
        x = layers.Conv2D(WIDTH, kernel, padding="same", use_bias=False, name=f"P{p}_conv{i}")(x)
        x = layers.LayerNormalization(epsilon=EPSILON, name=f"P{p}_norm{i}")(x)
    return x
