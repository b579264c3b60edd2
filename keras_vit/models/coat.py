"""Co-Scale Conv-Attentional Image Transformers (CoaT) -- Xu et al., ICCV 2021, arXiv:2104.06399.

Attention is factorised (Sec. 3.2): a softmax over the tokens turns keys and values into one d x d context per head,
which every query reads: the cost grows with N, not N^2. Depthwise convolutions encode positions, once on the
tokens (cpe) and once inside attention, as a relative position encoding E = Q * conv(V) (crpe, Sec. 3.3).
Four serial stages halve the map one after the other; in CoaT, parallel blocks then let the last three scales exchange
what they attended to (Sec. 4.1). CoaT-Lite has the serial stages only.

Letters: B batch, H W grid, C channels, N = 1 + H W tokens (a class token first), h heads, d = C / h, K classes.
Stages, or scales, count from 0 as everywhere in this library; the paper and the checkpoints count from 1.

A scale has one cpe and one crpe, which all its blocks share, serial and parallel ones. They are layers of the model,
called once per block; what a block has of its own is therefore two layers, `..._qkv` before crpe and the rest after it.

Differences between the checkpoints and this file:
- The files name shared tensors once for the scale and again for every block that uses them, the MLP of a parallel block
  once for each scale. Any one of those names is enough; where there are several, their values must agree.
- The official files hold norms that no model uses, `norm1` and, in CoaT-Lite, `norm2` and `norm3`.
- Every parameter has influence. The crpe has none in the very last block, where only the class token is read on, and
  learns from the blocks before.
- Without its classifier, the published code gives one sequence per scale. Here the three maps are averaged down to the
  coarsest grid and aggregated as the class tokens are; pooling="avg" of that is timm's `global_pool="avg"`.
"""

import math
from dataclasses import dataclass

import keras
from keras import layers, ops

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import MLP, PrependToken, SelectToken, TokensToGrid, drop_path
from keras_vit.layers.conv_attention import (
    ConvPositions,
    ConvRelativePositions,
    ProjectQKV,
    factorised_attention,
    layer_norm,
    uniform,
)
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.scales import interpolate
from keras_vit.layers.sizes import sizes
from keras_vit.models.family import IMAGENET, Family, Variant, family_preprocess_input
from keras_vit.models.sides import Sides
from keras_vit.weights.resample import input_channels
from keras_vit.weights.rules import Layout, Transform, conv, dense, depthwise, ignore, norm, param

PATCH_EPSILON = 1e-5  # of the LayerNorms after the patch embeddings, in the published code
PATCH_SIZES = (4, 2, 2, 2)  # per stage, pixels of the map before (Table 1)


@dataclass(frozen=True)
class Config:
    """A row of Table 1."""

    dims: tuple[int, ...]  # C per stage; one width for the last three where they exchange
    depths: tuple[int, ...]  # serial blocks per stage
    mlp_ratios: tuple[int, ...]  # hidden width of the MLP per stage, in units of C
    parallel_depth: int = 0  # parallel blocks on the last three scales; 0 is CoaT-Lite
    head_groups: tuple[int, ...] = (2, 3, 3)  # heads with each window of crpe, 3, 5 and 7; h is their sum


# Layers ----------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("keras_vit")
class SerialBlock(layers.Layer):
    """A serial block after its encodings (Fig. 4): attention, then MLP, each residual.

        x' = x + proj(FactorAtt(Q, K, V) + E),    x'' = x' + MLP(LN(x'))

    Args:
        num_heads: heads h; must divide C.
        mlp_ratio: hidden width of the MLP in units of C.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
    Input:   tokens x (B, N, C), qkv (B, N, 3 C), E (B, N, C).      Output: (B, N, C).
    """

    def __init__(self, num_heads, mlp_ratio=4, drop_path_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.mlp_ratio, self.drop_path_rate = num_heads, mlp_ratio, drop_path_rate

    def build(self, x_shape, qkv_shape, e_shape):
        dtype, C = self.dtype_policy, x_shape[-1]
        self.proj = layers.Dense(C, kernel_initializer=initial_normal(), dtype=dtype, name="proj")
        self.norm2 = layer_norm("norm2", dtype)
        self.mlp = MLP(self.mlp_ratio * C, dtype=dtype, name="mlp")
        self.drop_path = drop_path(self.drop_path_rate, rank=3, dtype=dtype)
        for part in (self.proj, self.norm2, self.mlp, self.drop_path):
            part.build(x_shape)

    def call(self, x, qkv, e):
        x = x + self.drop_path(self.proj(factorised_attention(qkv, self.num_heads) + e))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def compute_output_shape(self, x_shape, qkv_shape, e_shape):
        return x_shape


@keras.saving.register_keras_serializable("keras_vit")
class ParallelBlock(layers.Layer):
    """Attention at three scales, exchanged between them by interpolation, then one MLP for all (Sec. 4.1, Fig. 5).

    Each scale has its own projection and norms; what a scale attended to is added to the two others, class token to
    class token and patches on the other grid.

    Args:
        grids: (H, W) of each scale, finest first; each half of the one before. None where the maps say it.
        num_heads: heads h; must divide C.
        mlp_ratio: hidden width of the MLP in units of C.
        drop_path_rate: probability, in [0, 1), of skipping a branch of a scale for a whole sample.
    Input:   lists, one tensor per scale: tokens (B, N, C), qkv (B, N, 3 C), E (B, N, C) and, without grids, maps of
        the patches, of which the sizes alone are read.
    Output:  the tokens of each scale, a list of (B, N, C).
    """

    def __init__(self, grids=None, num_heads=8, mlp_ratio=4, drop_path_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.grids = grids and tuple(tuple(grid) for grid in grids)
        self.num_heads, self.mlp_ratio, self.drop_path_rate = num_heads, mlp_ratio, drop_path_rate

    def build(self, xs_shape, qkvs_shape, es_shape, maps_shape=None):
        dtype, C, scales = self.dtype_policy, xs_shape[0][-1], range(1, len(xs_shape) + 1)
        init = initial_normal()
        self.projs = [layers.Dense(C, kernel_initializer=init, dtype=dtype, name=f"proj{s}") for s in scales]
        self.norms = [layer_norm(f"norm{s}", dtype) for s in scales]
        self.mlp = MLP(self.mlp_ratio * C, dtype=dtype, name="mlp")
        self.drop_path = drop_path(self.drop_path_rate, rank=3, dtype=dtype)
        for part, shape in zip((*self.projs, *self.norms), (*xs_shape, *xs_shape)):
            part.build(shape)
        self.mlp.build((None, None, C))
        self.drop_path.build((None, None, C))

    def call(self, xs, qkvs, es, maps=None):
        h, grids = self.num_heads, self.grids if maps is None else [sizes(x)[:2] for x in maps]
        seen = [proj(factorised_attention(qkv, h) + e) for proj, qkv, e in zip(self.projs, qkvs, es)]
        xs = [x + self.drop_path(self.gather(seen, grids, scale)) for scale, x in enumerate(xs)]
        return [x + self.drop_path(self.mlp(norm(x))) for x, norm in zip(xs, self.norms)]

    def gather(self, seen, grids, scale):
        """The sum of what all scales attended to, on the grid of one of them."""
        return sum(interpolate(x, grid, scale - i) for i, (x, grid) in enumerate(zip(seen, grids)))

    def compute_output_shape(self, xs_shape, qkvs_shape, es_shape, maps_shape=None):
        return xs_shape


@keras.saving.register_keras_serializable("keras_vit")
class AggregateScales(layers.Layer):
    """A learned weighted sum of the scales, plus one bias (Sec. 4.2).  List of n tensors (..., C) -> (..., C)."""

    def build(self, shapes):
        self.kernel = self.add_weight((len(shapes),), uniform(len(shapes)), name="kernel")
        self.bias = self.add_weight((1,), "zeros", name="bias")

    def call(self, xs):
        # As long as a token: TFLite's converter (TensorFlow 2.21) cannot fold one number into the next Dense.
        bias = ops.broadcast_to(self.bias, (xs[0].shape[-1],))
        return sum(self.kernel[i] * x for i, x in enumerate(xs)) + bias

    def compute_output_shape(self, shapes):
        return shapes[0]


# Model -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """What the blocks of one scale share: its number, the map of its patches, and the two position encodings."""

    stage: int
    patches: keras.KerasTensor
    cpe: ConvPositions
    crpe: ConvRelativePositions

    def encode(self, x, num_heads, name):
        """How every block begins.  (B, N, C) -> the tokens with positions, qkv and E."""
        x = self.cpe(x, self.patches)
        qkv = ProjectQKV(num_heads, name=f"{name}_qkv")(x)
        return x, qkv, self.crpe(qkv, self.patches)


def build(config, image, head, drop_path_rate=0.0):
    """Fig. 3, left to right: four serial stages, in CoaT the parallel blocks, classifier.  (B, H, W, 3) -> (B, K).

    All blocks have the same rate of stochastic depth.
    """
    scales, sequences, x = [], [], image
    for s in range(len(config.dims)):
        scale, tokens = _serial_stage(config, s, x, drop_path_rate)
        scales.append(scale)
        sequences.append(tokens)
        if s < len(config.dims) - 1:
            x = TokensToGrid(name=f"stage{s}_map")(tokens, scale.patches)
    if config.parallel_depth:
        x = _parallel(config, scales[1:], sequences[1:], head, drop_path_rate)
    else:
        x = layer_norm("norm")(tokens)
        x = head.pool_tokens(x, scale.patches)  # B C
    return head.classify(x) if head.include_top else x


def _serial_stage(config, s, x, drop_path_rate):
    """Patches, class token, serial blocks (Sec. 4.1).  (B, H, W, C) -> the scale and its tokens (B, N, C')."""
    C, P, h = config.dims[s], PATCH_SIZES[s], sum(config.head_groups)
    init = uniform(P * P * x.shape[-1])
    x = layers.Conv2D(C, P, strides=P, kernel_initializer=init, name=f"stage{s}_patch_embed")(x)
    x = patches = layers.LayerNormalization(epsilon=PATCH_EPSILON, name=f"stage{s}_patch_norm")(x)
    x = layers.Reshape((-1, C), name=f"stage{s}_flatten_patches")(x)
    x = PrependToken(name=f"stage{s}_class_token")(x)  # B N C
    crpe = ConvRelativePositions(head_groups=config.head_groups, name=f"crpe{s}")
    scale = Scale(s, patches, ConvPositions(name=f"cpe{s}"), crpe)
    for b in range(config.depths[s]):
        name = f"stage{s}_block{b}"
        block = SerialBlock(h, config.mlp_ratios[s], drop_path_rate, name=name)
        x = block(*scale.encode(x, h, name))
    return scale, x


def _parallel(config, scales, xs, head, drop_path_rate):
    """Parallel blocks and the aggregate of their scales.  Lists of scales and of tokens -> (B, C) or a map."""
    h, maps = sum(config.head_groups), [scale.patches for scale in scales]
    for b in range(config.parallel_depth):
        encoded = [scale.encode(x, h, f"stage{scale.stage}_parallel{b}") for scale, x in zip(scales, xs)]
        block = ParallelBlock(None, h, config.mlp_ratios[-1], drop_path_rate, name=f"parallel{b}")
        xs = block(*map(list, zip(*encoded)), maps)
    xs = [layer_norm(f"norm{scale.stage}")(x) for scale, x in zip(scales, xs)]
    aggregate = AggregateScales(name="aggregate")
    if head.include_top or head.pooling == "token":
        return aggregate([SelectToken(name=f"take_token{scale.stage}")(x) for scale, x in zip(scales, xs)])
    return head.pool_map(aggregate([_coarsest(scale, scales[-1].stage, x) for scale, x in zip(scales, xs)]))


def _coarsest(scale, last, x):
    """The patches of a scale as a map, averaged down to the last scale's grid.  (B, N, C) -> (B, H, W, C)."""
    x = TokensToGrid(name=f"grid{scale.stage}")(x, scale.patches)
    factor = 2 ** (last - scale.stage)
    return layers.AveragePooling2D(factor, name=f"pool{scale.stage}")(x) if factor > 1 else x


def sides(config):
    """Every stage must get whole patches."""
    return Sides(math.prod(PATCH_SIZES), "the patch sizes 4, 2, 2 and 2")


# Checkpoints -----------------------------------------------------------------------------------------------------

SERIAL, PARALLEL = "serial_blocks{s+1}.{b}", "parallel_blocks.{b}"
SHARED_AND_SERIAL = (
    *conv("patch_embed{s+1}.proj", "stage{s}_patch_embed"),
    *norm("patch_embed{s+1}.norm", "stage{s}_patch_norm"),
    *param("cls_token{s+1}", "stage{s}_class_token/token"),
    *depthwise("cpe{s+1}.proj", "cpe{s}/proj", aliases=(f"{SERIAL}.cpe.proj",)),
    *depthwise(  # no parallel block has the first scale
        "crpe1.conv_list.{i}", "crpe0/conv{i}", aliases=("serial_blocks1.{b}.factoratt_crpe.crpe.conv_list.{i}",)
    ),
    *depthwise(
        "crpe{s+1}.conv_list.{i}",
        "crpe{s}/conv{i}",
        aliases=(
            f"{SERIAL}.factoratt_crpe.crpe.conv_list.{{i}}",
            f"{PARALLEL}.factoratt_crpe{{s+1}}.crpe.conv_list.{{i}}",
        ),
    ),
    *norm(f"{SERIAL}.norm1", "stage{s}_block{b}_qkv/norm1"),
    *dense(f"{SERIAL}.factoratt_crpe.qkv", "stage{s}_block{b}_qkv/qkv"),
    *dense(f"{SERIAL}.factoratt_crpe.proj", "stage{s}_block{b}/proj"),
    *norm(f"{SERIAL}.norm2", "stage{s}_block{b}/norm2"),
    *dense(f"{SERIAL}.mlp.fc1", "stage{s}_block{b}/mlp/fc1"),
    *dense(f"{SERIAL}.mlp.fc2", "stage{s}_block{b}/mlp/fc2"),
    *dense("head", "head"),
)
AGGREGATE = Transform(lambda w: w.reshape(-1), lambda w: w.reshape(1, -1, 1))  # of a Conv1d over the three scales
# timm's files and the official ones, which hold what is ignored here, are named alike.
LITE_LAYOUT = Layout(
    "timm", (*SHARED_AND_SERIAL, *norm("norm4", "norm"), *ignore("norm1.*", "norm2.*", "norm3.*", "aggregate.*"))
)
LAYOUT = Layout(
    "timm",
    (
        *SHARED_AND_SERIAL,
        *norm(f"{PARALLEL}.norm1{{s+1}}", "stage{s}_parallel{b}_qkv/norm1"),
        *dense(f"{PARALLEL}.factoratt_crpe{{s+1}}.qkv", "stage{s}_parallel{b}_qkv/qkv"),
        *dense(f"{PARALLEL}.factoratt_crpe{{s+1}}.proj", "parallel{b}/proj{s}"),
        *norm(f"{PARALLEL}.norm2{{s+1}}", "parallel{b}/norm{s}"),
        *dense(f"{PARALLEL}.mlp2.fc1", "parallel{b}/mlp/fc1", aliases=(f"{PARALLEL}.mlp3.fc1", f"{PARALLEL}.mlp4.fc1")),
        *dense(f"{PARALLEL}.mlp2.fc2", "parallel{b}/mlp/fc2", aliases=(f"{PARALLEL}.mlp3.fc2", f"{PARALLEL}.mlp4.fc2")),
        *ignore("norm1.*"),
        *norm("norm{s+1}", "norm{s}"),
        *param("aggregate.weight", "aggregate/kernel", AGGREGATE),
        *param("aggregate.bias", "aggregate/bias"),
    ),
)


def _family(name, layout):
    return Family(
        name=name,
        paper="2104.06399",
        build=build,
        sides=sides,
        layouts=(layout,),
        resamplers={"stage0_patch_embed/kernel": input_channels},
        preprocessing=IMAGENET,
    )


COAT_LITE, COAT = _family("CoaT-Lite", LITE_LAYOUT), _family("CoaT", LAYOUT)


def _lite(name, parameters, alias, dims, depths, mlp_ratios=(8, 8, 4, 4)):
    return Variant(name, COAT_LITE, Config(dims, depths, mlp_ratios), parameters, alias)


def _coat(name, parameters, alias, width):
    dims = (152, width, width, width)
    return Variant(name, COAT, Config(dims, (2, 2, 2, 2), (4, 4, 4, 4), 6), parameters, alias)


# Table 1; Small of CoaT and Medium of CoaT-Lite are in the published code. Parameters with 1000 classes.
CoaTLiteTiny = _lite("CoaTLiteTiny", 5_721_960, "coat_lite_tiny", (64, 128, 256, 320), (2, 2, 2, 2))
CoaTLiteMini = _lite("CoaTLiteMini", 11_011_560, "coat_lite_mini", (64, 128, 320, 512), (2, 2, 2, 2))
CoaTLiteSmall = _lite("CoaTLiteSmall", 19_838_504, "coat_lite_small", (64, 128, 320, 512), (3, 4, 6, 3))
CoaTLiteMedium = _lite(
    *("CoaTLiteMedium", 44_571_048, "coat_lite_medium", (128, 256, 320, 512), (3, 6, 10, 8)), mlp_ratios=(4, 4, 4, 4)
)
CoaTTiny = _coat("CoaTTiny", 5_498_540, "coat_tiny", 152)
CoaTMini = _coat("CoaTMini", 10_337_004, "coat_mini", 216)
CoaTSmall = _coat("CoaTSmall", 21_693_908, "coat_small", 320)

preprocess_input = family_preprocess_input(CoaTLiteTiny)
