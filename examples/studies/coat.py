"""CoaT, arXiv:2104.06399: its two convolutional position encodings, and serial against parallel blocks.

The paper's ablations are called "Effectiveness of Position Encodings" (on CoaT-Lite) and "Effectiveness of Co-Scale".
At 32 pixels the four scales have 8 x 8, 4 x 4, 2 x 2 and 1 patches.
"""

from dataclasses import dataclass

import keras
from keras import layers, ops

from examples.studies.study import Study, family
from keras_vit.layers import PrependToken, SelectToken, TokensToGrid
from keras_vit.layers.conv_attention import ConvPositions, ConvRelativePositions, layer_norm
from keras_vit.layers.initializers import initial_normal
from keras_vit.models import coat
from keras_vit.models.family import Variant


@dataclass(frozen=True)
class Config(coat.Config):
    """A row of either ablation."""

    cpe: bool = True  # convolutional position encoding, on the tokens
    crpe: bool = True  # convolutional relative position encoding, inside attention
    exchange: bool = True  # whether parallel blocks add the attention of the other scales


@keras.saving.register_keras_serializable("examples")
class NoRelativePositions(layers.Layer):
    """E = 0.  (B, N, 3 C), and the map of the patches -> (B, N, C)."""

    def call(self, qkv, patches):
        return ops.zeros_like(qkv[..., : qkv.shape[-1] // 3])

    def compute_output_shape(self, qkv_shape, patches_shape):
        return (*qkv_shape[:-1], qkv_shape[-1] // 3)


@keras.saving.register_keras_serializable("examples")
class NoPositions(layers.Layer):
    """The tokens as they are.  (B, N, C), and the map of the patches -> (B, N, C)."""

    def call(self, x, patches):
        return x

    def compute_output_shape(self, x_shape, patches_shape):
        return x_shape


@keras.saving.register_keras_serializable("examples")
class SeparateParallelBlock(coat.ParallelBlock):
    """Parallel groups without a connection: every scale uses only its own attention."""

    def gather(self, seen, grids, scale):
        return seen[scale]


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 3, with the parts that the config selects.  (B, H, W, 3) -> (B, K)."""
    scales, sequences, x = [], [], image
    for s in range(len(config.dims)):
        scale, tokens = serial_stage(config, s, x, drop_path_rate)
        scales.append(scale)
        sequences.append(tokens)
        if s < len(config.dims) - 1:
            x = TokensToGrid(name=f"stage{s}_map")(tokens, scale.patches)
    if config.parallel_depth:
        x = parallel(config, scales[1:], sequences[1:], drop_path_rate)
    else:
        x = head.pool_tokens(layer_norm("norm")(tokens), scale.patches)  # B C
    return head.classify(x) if head.include_top else x


def serial_stage(config, s, x, drop_path_rate):
    """Patches, class token, serial blocks (Sec. 4.1).  (B, H, W, C) -> the scale and its tokens (B, N, C')."""
    C, P, h = config.dims[s], coat.PATCH_SIZES[s], sum(config.head_groups)
    x = layers.Conv2D(C, P, strides=P, kernel_initializer=initial_normal(), name=f"stage{s}_patch_embed")(x)
    x = patches = layers.LayerNormalization(epsilon=coat.PATCH_EPSILON, name=f"stage{s}_patch_norm")(x)
    x = layers.Reshape((-1, C), name=f"stage{s}_flatten_patches")(x)
    x = PrependToken(name=f"stage{s}_class_token")(x)  # B N C
    cpe = ConvPositions(name=f"cpe{s}") if config.cpe else NoPositions(name=f"cpe{s}")
    relative = ConvRelativePositions(head_groups=config.head_groups, name=f"crpe{s}")
    crpe = relative if config.crpe else NoRelativePositions(name=f"crpe{s}")
    scale = coat.Scale(s, patches, cpe, crpe)
    for b in range(config.depths[s]):
        name = f"stage{s}_block{b}"
        x = coat.SerialBlock(h, config.mlp_ratios[s], drop_path_rate, name=name)(*scale.encode(x, h, name))
    return scale, x


def parallel(config, scales, xs, drop_path_rate):
    """Parallel blocks, and the aggregate of the class tokens.  Lists of scales and of tokens -> (B, C)."""
    make_block = coat.ParallelBlock if config.exchange else SeparateParallelBlock
    h, maps = sum(config.head_groups), [scale.patches for scale in scales]
    for b in range(config.parallel_depth):
        encoded = [scale.encode(x, h, f"stage{scale.stage}_parallel{b}") for scale, x in zip(scales, xs)]
        block = make_block(None, h, config.mlp_ratios[-1], drop_path_rate, name=f"parallel{b}")
        xs = block(*map(list, zip(*encoded)), maps)
    xs = [layer_norm(f"norm{scale.stage}")(x) for scale, x in zip(scales, xs)]
    tokens = [SelectToken(name=f"take_token{scale.stage}")(x) for scale, x in zip(scales, xs)]
    return coat.AggregateScales(name="aggregate")(tokens)


FAMILY = family("CoaT", "2104.06399", build, coat.sides)


def arm(name, depths, **changes):
    """A variant with `depths` serial blocks per stage."""
    sizes = {"dims": (32, 64, 64, 64), "mlp_ratios": (2, 2, 2, 2), "head_groups": (1, 1, 2)}
    return Variant(name, FAMILY, Config(depths=depths, **sizes, **changes))


SERIAL, BEFORE_PARALLEL = (1, 2, 2, 2), (1, 1, 1, 1)  # a parallel block adds one to each of the last three stages
STUDY = Study(
    name="coat",
    title="CoaT: position encodings, and serial against parallel blocks",
    source='arXiv:2104.06399, "Effectiveness of Position Encodings" and "Effectiveness of Co-Scale"',
    arms={
        "serial (CoaT-Lite), no positions": arm("CoaTNone", SERIAL, cpe=False, crpe=False),
        "serial, CPE": arm("CoaTCpe", SERIAL, crpe=False),
        "serial, CRPE": arm("CoaTCrpe", SERIAL, cpe=False),
        "serial, CPE and CRPE": arm("CoaTSerial", SERIAL),
        "parallel, not connected": arm("CoaTSeparate", BEFORE_PARALLEL, parallel_depth=1, exchange=False),
        "parallel, connected by interpolation": arm("CoaTParallel", BEFORE_PARALLEL, parallel_depth=1),
    },
)
