"""Hybrid Vision Transformer -- Dosovitskiy et al., ICLR 2021, arXiv:2010.11929, Sec. 3.1 "Hybrid Architecture".

ViT whose patches are cut from the feature map of a ResNet instead of from the image. The ResNet
has weight-standardised convolutions (arXiv:1903.10520) and group normalisation (arXiv:1803.08494) in place of batch
normalisation (Sec. 4.1), so that no layer depends on the rest of the batch. Everything after the patches is `vit`.

Letters: B batch, H W grid, C channels, G groups, P patch side in units of the feature map, D width, K classes.

Differences between the checkpoints and this file:
- Kernels are stored as they were trained and are standardised at run time, here as there.
- The JAX code divides by std + 1e-5 and normalises groups with an epsilon of 1e-6. timm runs, and has measured, its
  weights with sqrt(var + 1e-8) and 1e-5, and so does this file.
- JAX pads as TensorFlow does, more at the bottom and the right where the stride leaves a remainder; so does timm here.
- Some old JAX files keep a group norm's scale and shift as (1, 1, 1, C).
- R50+B/16 moves the blocks of the ResNet's last stage into the third, which keeps a stride of 16 (Sec. 4.1).
"""

from dataclasses import dataclass, replace

import keras
from keras import layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers.image_size import ImageSize
from keras_vit.layers.sizes import derived, sizes
from keras_vit.models import vit
from keras_vit.models.family import (
    INCEPTION,
    Family,
    Variant,
    family_preprocess_input,
)
from keras_vit.models.sides import Sides
from keras_vit.weights.resample import input_channels, positions
from keras_vit.weights.rules import Layout, conv, norm, param

STEM = 64  # channels of the stem; stages have 4, 8, 16 and 32 times as many
GROUPS = 32
GROUP_EPSILON = 1e-5  # of the group norms
KERNEL_EPSILON = 1e-8  # of the standardisation of kernels


@dataclass(frozen=True)
class Config:
    """A ResNet and the ViT on top of it, e.g. R50+ViT-B/16 of Table 6."""

    depths: tuple[int, ...]  # bottlenecks per stage; () leaves the stem only
    encoder: vit.Config  # its patch_size counts pixels of the feature map

    @property
    def stride(self):
        """Pixels of the image per patch, along an axis."""
        return 4 * 2 ** max(len(self.depths) - 1, 0) * self.encoder.patch_size


@keras.saving.register_keras_serializable("keras_vit")
class StdConv2D(layers.Layer):
    """Convolution whose kernel has mean 0 and variance 1 for each output channel (arXiv:1903.10520).

    Args:
        filters: channels of the output.
        kernel_size, strides: one number for both axes. Padding is "same", there is no bias.
    Input:   (B, H, W, C).      Output: (B, ceil(H / strides), ceil(W / strides), filters).

    Note:
        standardised in float32 whatever the compute dtype.
    """

    def __init__(self, filters, kernel_size, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.strides = filters, kernel_size, strides

    def build(self, shape):
        kernel = (self.kernel_size, self.kernel_size, shape[-1], self.filters)
        self.kernel = self.add_weight(kernel, "he_normal", name="kernel", autocast=False)

    def call(self, x):
        return ops.conv(x, ops.cast(self.standardised_kernel(), x.dtype), self.strides, "same")

    def standardised_kernel(self):
        """(k, k, C, filters) float32."""
        centred = self.kernel - ops.mean(self.kernel, axis=(0, 1, 2), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(0, 1, 2), keepdims=True)
        return centred * ops.rsqrt(variance + KERNEL_EPSILON)

    def compute_output_shape(self, shape):
        return (shape[0], *_strided(shape, self.strides), self.filters)


def _strided(shape, strides):
    """(H, W) of the output of a convolution with "same" padding."""
    return tuple(derived(lambda side: -(-side // strides), side) for side in shape[1:3])


@keras.saving.register_keras_serializable("keras_vit")
class GroupNorm(layers.Layer):
    """Normalises each of 32 groups of channels over the whole map (arXiv:1803.08494).  (B, H, W, C) -> same.

    Note:
        Keras' own layer does the same at rank 5, which mobile runtimes take in pieces.
    """

    def build(self, shape):
        if shape[-1] % GROUPS:
            raise ValueError(f"{self.name}: expected a multiple of {GROUPS} channels. Received: {shape[-1]}")
        self.gamma = self.add_weight((shape[-1],), "ones", name="gamma")
        self.beta = self.add_weight((shape[-1],), "zeros", name="beta")

    def call(self, x):
        H, W, C = sizes(x)
        pixels = ops.reshape(ops.cast(x, "float32"), (-1, H * W, C))  # B HW C
        centred = pixels - self.group_mean(pixels)
        variance = self.group_mean(ops.square(centred))
        normal = centred * ops.rsqrt(variance + GROUP_EPSILON)
        return ops.cast(ops.reshape(normal, (-1, H, W, C)), x.dtype) * self.gamma + self.beta  # B H W C

    def group_mean(self, x):
        """(B, HW, C) -> (B, 1, C), the same for all channels of a group.

        Pixels first, channels then: TensorFlow is slow over both axes at once, and at broadcasting along the short
        axis of a group. So, and with the kernels' variance from what is centred already, ViTR26S32 takes 0.68
        (graph, 16 images) to 0.83 times (XLA, 16) as long.
        """
        C = x.shape[-1]
        channels = ops.reshape(ops.mean(x, axis=1), (-1, GROUPS, C // GROUPS))  # B G C/G
        means = ops.mean(channels, axis=2, keepdims=True) + ops.zeros((C // GROUPS,))  # B G C/G
        return ops.reshape(means, (-1, 1, C))

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class Bottleneck(layers.Layer):
    """ResNet's bottleneck: 1 x 1 to a quarter of the channels, 3 x 3, 1 x 1 back, residual (arXiv:1512.03385, Fig. 5).

    Args:
        filters: channels of the output.
        strides: of the 3 x 3 convolution, and of the shortcut's.
        project: whether the shortcut is a convolution; the first block of every stage has one.
    Input:   (B, H, W, C).      Output: (B, ceil(H / strides), ceil(W / strides), filters).
    """

    def __init__(self, filters, strides=1, project=False, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.strides, self.project = filters, strides, project

    def build(self, shape):
        dtype, inner = self.dtype_policy, self.filters // 4
        self.conv1 = StdConv2D(inner, 1, dtype=dtype, name="conv1")
        self.conv2 = StdConv2D(inner, 3, self.strides, dtype=dtype, name="conv2")
        self.conv3 = StdConv2D(self.filters, 1, dtype=dtype, name="conv3")
        self.norm1 = GroupNorm(dtype=dtype, name="norm1")
        self.norm2 = GroupNorm(dtype=dtype, name="norm2")
        self.norm3 = GroupNorm(dtype=dtype, name="norm3")
        whole, reduced = (*shape[:3], inner), (*self.compute_output_shape(shape)[:3], inner)
        for part, received in (
            (self.conv1, shape),
            (self.norm1, whole),
            (self.conv2, whole),
            (self.norm2, reduced),
            (self.conv3, reduced),
            (self.norm3, self.compute_output_shape(shape)),
        ):
            part.build(received)
        if self.project:
            self.proj_conv = StdConv2D(self.filters, 1, self.strides, dtype=dtype, name="proj_conv")
            self.proj_norm = GroupNorm(dtype=dtype, name="proj_norm")
            self.proj_conv.build(shape)
            self.proj_norm.build(self.compute_output_shape(shape))

    def call(self, x):
        shortcut = self.proj_norm(self.proj_conv(x)) if self.project else x
        x = ops.relu(self.norm1(self.conv1(x)))
        x = ops.relu(self.norm2(self.conv2(x)))
        return ops.relu(self.norm3(self.conv3(x)) + shortcut)

    def compute_output_shape(self, shape):
        return (shape[0], *_strided(shape, self.strides), self.filters)


def build(config, image, head, drop_path_rate=0.0):
    """ResNet, patches of its feature map, then ViT.  (B, H, W, 3) -> (B, K)."""
    x = StdConv2D(STEM, 7, strides=2, name="stem_conv")(image)
    x = GroupNorm(name="stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)  # B H/4 W/4 64
    for s, depth in enumerate(config.depths):
        for b in range(depth):
            strides = 2 if s > 0 and b == 0 else 1
            x = Bottleneck(4 * STEM * 2**s, strides, project=b == 0, name=f"stage{s}_unit{b}")(x)
    P = config.encoder.patch_size
    if any(derived(lambda side: side % P, side) != 0 for side in x.shape[1:3]):  # dynamic_img_pad, or any size
        x = ImageSize("the map of the ResNet", P, 1, pad=True, name="map_size")(x)
    x = vit.patch_embed(config.encoder, x)  # B H/(S P) W/(S P) D
    return vit.classify_patches(config.encoder, x, config.stride, head, drop_path_rate)


def sides(config):
    """Both sides must be whole numbers of patches of more than a pixel of the map; the ResNet pads by itself."""
    if config.encoder.patch_size == 1:
        return Sides(1)
    return Sides(config.stride, "the stride of a patch", padded_to=1)  # what is padded is the map


def configure(config, entries, classes):
    """Adds `pre_logits` where a file has one and its classifier is kept."""
    return replace(config, encoder=vit.configure(config.encoder, entries, classes))


# Checkpoints -----------------------------------------------------------------------------------------------------


def _timm_unit():
    source, target = "patch_embed.backbone.stages.{s}.blocks.{b}", "stage{s}_unit{b}"
    rules = ()
    for i in (1, 2, 3):
        rules += conv(f"{source}.conv{i}", f"{target}/conv{i}")
        rules += norm(f"{source}.norm{i}", f"{target}/norm{i}")
    rules += conv(f"{source}.downsample.conv", f"{target}/proj_conv")
    return rules + norm(f"{source}.downsample.norm", f"{target}/proj_norm")


def _timm_stem(source):
    return conv(f"{source}.conv", "stem_conv") + norm(f"{source}.norm", "stem_norm")


def _flax_resnet(root):
    source, target = f"{root}block{{s+1}}/unit{{b+1}}", "stage{s}_unit{b}"
    rules = param(f"{root}conv_root/kernel", "stem_conv/kernel")
    rules += vit.flax_norm(f"{root}gn_root", "stem_norm")
    for i in (1, 2, 3):
        rules += param(f"{source}/conv{i}/kernel", f"{target}/conv{i}/kernel")
        rules += vit.flax_norm(f"{source}/gn{i}", f"{target}/norm{i}")
    rules += param(f"{source}/conv_proj/kernel", f"{target}/proj_conv/kernel")
    return rules + vit.flax_norm(f"{source}/gn_proj", f"{target}/proj_norm")


TIMM = Layout("timm", (*_timm_stem("patch_embed.backbone.stem"), *_timm_unit(), *vit.TIMM.rules))
STEM_ALONE = Layout("timm (no stages)", (*_timm_stem("patch_embed.backbone"), *vit.TIMM.rules))

HYBRID = Family(
    name="ViT hybrid",
    paper="2010.11929",
    build=build,
    sides=sides,
    layouts=(STEM_ALONE, TIMM, *vit.flax_layouts(before=_flax_resnet)),
    resamplers={"positions/table": positions(1), "stem_conv/kernel": input_channels},
    preprocessing=INCEPTION,
    head=("head", "pre_logits"),
    configure=configure,
)


def _hybrid(name, parameters, alias, depths, *encoder):
    return Variant(name, HYBRID, Config(depths, vit.Config(*encoder)), parameters, alias)


# R50+B/16 of Table 6, the others from arXiv:2106.10270, Table 2 and Google's files. D, L, h and P of the
# transformer after the ResNet's depths. Parameters at the native size with 1000 classes.
ViTRTi16 = _hybrid("ViTRTi16", 6_337_704, "vit_tiny_r_s16_p8_224", (), 192, 12, 3, 8)
ViTR26S32 = _hybrid("ViTR26S32", 36_431_912, "vit_small_r26_s32_224", (2, 2, 2, 2), 384, 12, 6, 1)
ViTR26B32 = _hybrid("ViTR26B32", 101_383_976, "vit_base_r26_s32_224", (2, 2, 2, 2), 768, 12, 12, 1)
ViTR50B16 = _hybrid("ViTR50B16", 98_950_952, "vit_base_r50_s16_384", (3, 4, 9), 768, 12, 12, 1)
ViTR50L32 = _hybrid("ViTR50L32", 328_994_856, "vit_large_r50_s32_224", (3, 4, 6, 3), 1024, 24, 16, 1)

preprocess_input = family_preprocess_input(ViTR50B16)
