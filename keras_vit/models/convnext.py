"""ConvNeXt -- Liu et al., CVPR 2022, arXiv:2201.03545.

A ResNet brought step by step to the habits of a Swin Transformer (Fig. 2): a patchify stem, depthwise 7 x 7
convolutions, inverted bottlenecks, LayerNorm, GELU, few activations, separate downsampling layers (Sec. 2, Fig. 4).
The isotropic models (Sec. 3.3) keep one resolution and one width throughout, as ViT does.
Atto to Nano are timm's smaller models of the same design.

Letters: B batch, H W grid, C channels, K classes.

Differences between the checkpoints and this file:
- The classifier pools first and normalises then, in both layouts.
- Isotropic S and B were trained without layer scale: their files have no gamma, those of L do (Sec. 3.3).
- timm runs the MLP of Atto to Nano as 1 x 1 convolutions: same numbers, one axis pair more in the file.
"""

from dataclasses import dataclass, replace

import keras
from keras import layers

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import MLP, LayerScale, drop_path, drop_path_rates
from keras_vit.layers.depthwise import DepthwiseConv2D
from keras_vit.layers.initializers import initial_normal
from keras_vit.models import vit
from keras_vit.models.family import (
    IMAGENET,
    Family,
    Named,
    Variant,
    differing,
    family_preprocess_input,
    later,
)
from keras_vit.models.sides import Sides
from keras_vit.weights.patch_kernel import patch_kernel
from keras_vit.weights.rules import Layout, conv, dense, depthwise, norm, param

EPSILON = 1e-6  # of every LayerNorm in the published code


@dataclass(frozen=True, repr=False)
class Config(Named):
    """A row of Sec. 3, "ConvNeXt-T: C = (96, 192, 384, 768), B = (3, 3, 9, 3)"."""

    depths: tuple[int, ...]  # B, blocks per stage
    dims: tuple[int, ...]  # C per stage
    patch_size: int = later(4)  # pixels, of the stem
    layer_scale: bool = later(True)  # whether the residual branches carry a gamma
    epsilon: float = later(EPSILON)  # of the last LayerNorm; that of the others is fixed
    activation: str = later("gelu")  # of the MLPs, of `keras_vit.layers.activations`


@dataclass(frozen=True)
class IsotropicConfig:
    """A row of Table 2."""

    depth: int  # blocks
    embed_dim: int  # C
    layer_scale: bool = False  # whether the residual branches carry a gamma
    patch_size: int = 16  # pixels


@keras.saving.register_keras_serializable("keras_vit")
class ConvNeXtBlock(layers.Layer):
    """Fig. 4, right: depthwise 7 x 7, LayerNorm, 1 x 1 to 4 C, GELU, 1 x 1 back, layer scale, residual.

    Args:
        layer_scale: whether the branch ends in a learned factor per channel, 1e-6 at first.
        drop_path_rate: probability, in [0, 1), of skipping the branch for a whole sample.
        activation: between the 1 x 1 convolutions, of `ACTIVATIONS`.
    Input:   (B, H, W, C).      Output: (B, H, W, C).
    """

    def __init__(self, layer_scale=True, drop_path_rate=0.0, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        self.layer_scale, self.drop_path_rate, self.activation = layer_scale, drop_path_rate, activation

    def build(self, shape):
        dtype = self.dtype_policy
        self.dwconv = DepthwiseConv2D(
            7, padding="same", depthwise_initializer=initial_normal(), dtype=dtype, name="dwconv"
        )
        self.norm = layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name="norm")
        self.mlp = MLP(4 * shape[-1], self.activation, dtype=dtype, name="mlp")
        self.scale = LayerScale(1e-6, dtype=dtype, name="scale") if self.layer_scale else None
        self.drop_path = drop_path(self.drop_path_rate, rank=4, dtype=dtype)
        for part in (self.dwconv, self.norm, self.mlp, self.scale, self.drop_path):
            if part is not None:
                part.build(shape)

    def call(self, x):
        branch = self.mlp(self.norm(self.dwconv(x)))
        if self.scale is not None:
            branch = self.scale(branch)
        return x + self.drop_path(branch)

    def compute_output_shape(self, shape):
        return shape


def build(config, image, head, drop_path_rate=0.0):
    """Stem, four stages with downsampling between them, classifier.  (B, H, W, 3) -> (B, K)."""
    P, init = config.patch_size, initial_normal()
    x = layers.Conv2D(config.dims[0], P, strides=P, kernel_initializer=init, name="stem")(image)
    x = layers.LayerNormalization(epsilon=EPSILON, name="stem_norm")(x)  # B H W C
    rates = iter(drop_path_rates(drop_path_rate, sum(config.depths)))
    options = differing(ConvNeXtBlock, layer_scale=config.layer_scale, activation=config.activation)
    for s, (depth, C) in enumerate(zip(config.depths, config.dims)):
        if s > 0:
            x = layers.LayerNormalization(epsilon=EPSILON, name=f"downsample{s}_norm")(x)
            x = layers.Conv2D(C, 2, strides=2, kernel_initializer=init, name=f"downsample{s}")(x)  # B H/2 W/2 C
        for b in range(depth):
            x = ConvNeXtBlock(drop_path_rate=next(rates), name=f"stage{s}_block{b}", **options)(x)
    return _finish(x, head, config.epsilon)


def build_isotropic(config, image, head, drop_path_rate=0.0):
    """Sec. 3.3: ViT's patches, then one stage; no norm after the stem.  (B, H, W, 3) -> (B, K)."""
    P = config.patch_size
    x = layers.Conv2D(config.embed_dim, P, strides=P, kernel_initializer=initial_normal(), name="stem")(image)
    for b, rate in enumerate(drop_path_rates(drop_path_rate, config.depth)):
        x = ConvNeXtBlock(config.layer_scale, rate, name=f"stage0_block{b}")(x)
    return _finish(x, head)


def _finish(x, head, epsilon=EPSILON):
    x = head.pool_map(x)  # B C
    x = layers.LayerNormalization(epsilon=epsilon, name="norm")(x)
    return head.classify(x) if head.include_top else x


def sides(config):
    """The last stage must keep a pixel; sides that do not divide lose their remainder, as in the published code."""
    smallest = config.patch_size * 2 ** (len(config.dims) - 1)  # of the stem, and 2 between the stages
    return Sides(1, smallest=smallest, padded_to=smallest)


def configure_isotropic(config, entries, classes):
    """With layer scale if the file has its gammas."""
    return replace(config, layer_scale=any(name.endswith("gamma") for name in entries))


# Checkpoints -----------------------------------------------------------------------------------------------------


def _block(source, conv_name, fc1, fc2, target="stage{s}_block{b}", norm_name="norm", gamma="gamma"):
    return (
        *depthwise(f"{source}.{conv_name}", f"{target}/dwconv"),
        *norm(f"{source}.{norm_name}", f"{target}/norm"),
        *dense(f"{source}.{fc1}", f"{target}/mlp/fc1"),
        *dense(f"{source}.{fc2}", f"{target}/mlp/fc2"),
        *param(f"{source}.{gamma}", f"{target}/scale/gamma"),
    )


TIMM = Layout(
    "timm",
    (
        *conv("stem.0", "stem"),
        *norm("stem.1", "stem_norm"),
        *norm("stages.{s}.downsample.0", "downsample{s}_norm"),
        *conv("stages.{s}.downsample.1", "downsample{s}"),
        *_block("stages.{s}.blocks.{b}", "conv_dw", "mlp.fc1", "mlp.fc2"),
        *norm("head.norm", "norm"),
        *dense("head.fc", "head"),
    ),
)
OFFICIAL = Layout(
    "official",
    (
        *conv("downsample_layers.0.0", "stem"),
        *norm("downsample_layers.0.1", "stem_norm"),
        *norm("downsample_layers.{s}.0", "downsample{s}_norm"),
        *conv("downsample_layers.{s}.1", "downsample{s}"),
        *_block("stages.{s}.{b}", "dwconv", "pwconv1", "pwconv2"),
        *norm("norm", "norm"),
        *dense("head", "head"),
    ),
)
STAGE = "convnext.encoder.stages.{s}"
TRANSFORMERS = Layout(
    "transformers",
    (
        *conv("convnext.embeddings.patch_embeddings", "stem"),
        *norm("convnext.embeddings.layernorm", "stem_norm"),
        *norm(f"{STAGE}.downsampling_layer.0", "downsample{s}_norm"),
        *conv(f"{STAGE}.downsampling_layer.1", "downsample{s}"),
        *_block(
            f"{STAGE}.layers.{{b}}",
            "dwconv",
            "pwconv1",
            "pwconv2",
            norm_name="layernorm",
            gamma="layer_scale_parameter",
        ),
        *norm("convnext.layernorm", "norm"),
        *dense("classifier", "head"),
    ),
)
ISOTROPIC = Layout(
    "official",
    (
        *conv("stem", "stem"),
        *_block("blocks.{b}", "dwconv", "pwconv1", "pwconv2", target="stage0_block{b}"),
        *norm("norm", "norm"),
        *dense("head", "head"),
    ),
)

CONVNEXT = Family(
    name="ConvNeXt",
    paper="2201.03545",
    build=build,
    sides=sides,
    layouts=(TIMM, OFFICIAL, TRANSFORMERS),
    resamplers={"stem/kernel": patch_kernel},
    preprocessing=IMAGENET,
)
CONVNEXT_ISOTROPIC = Family(
    name="ConvNeXt",
    paper="2201.03545",
    build=build_isotropic,
    sides=vit.sides,
    layouts=(ISOTROPIC,),
    resamplers={"stem/kernel": patch_kernel},
    preprocessing=IMAGENET,
    configure=configure_isotropic,
)


def _staged(name, parameters, alias, depths, width):
    """Widths double from stage to stage in every published model."""
    dims = tuple(width * 2**s for s in range(4))
    return Variant(name, CONVNEXT, Config(depths, dims), parameters, alias)


# Sec. 3 and, from Atto to Nano, timm's own. Parameters with 1000 classes.
ConvNeXtAtto = _staged("ConvNeXtAtto", 3_695_520, "convnext_atto", (2, 2, 6, 2), 40)
ConvNeXtFemto = _staged("ConvNeXtFemto", 5_217_784, "convnext_femto", (2, 2, 6, 2), 48)
ConvNeXtPico = _staged("ConvNeXtPico", 9_045_672, "convnext_pico", (2, 2, 6, 2), 64)
ConvNeXtNano = _staged("ConvNeXtNano", 15_593_560, "convnext_nano", (2, 2, 8, 2), 80)
ConvNeXtT = _staged("ConvNeXtT", 28_589_128, "convnext_tiny", (3, 3, 9, 3), 96)
ConvNeXtS = _staged("ConvNeXtS", 50_223_688, "convnext_small", (3, 3, 27, 3), 96)
ConvNeXtB = _staged("ConvNeXtB", 88_591_464, "convnext_base", (3, 3, 27, 3), 128)
ConvNeXtL = _staged("ConvNeXtL", 197_767_336, "convnext_large", (3, 3, 27, 3), 192)
ConvNeXtXL = _staged("ConvNeXtXL", 350_196_968, "convnext_xlarge", (3, 3, 27, 3), 256)
# Table 2, isotropic.
ConvNeXtIsoS = Variant(
    "ConvNeXtIsoS", CONVNEXT_ISOTROPIC, IsotropicConfig(18, 384), 22_308_712, "convnext_isotropic_small"
)
ConvNeXtIsoB = Variant(
    "ConvNeXtIsoB", CONVNEXT_ISOTROPIC, IsotropicConfig(18, 768), 87_083_752, "convnext_isotropic_base"
)
ConvNeXtIsoL = Variant(
    "ConvNeXtIsoL", CONVNEXT_ISOTROPIC, IsotropicConfig(36, 1024, True), 305_942_504, "convnext_isotropic_large"
)

preprocess_input = family_preprocess_input(ConvNeXtT)
