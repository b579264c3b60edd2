"""The conv-attentional module of CoaT, arXiv:2104.06399, Sec. 3, in the pieces that its blocks are built of.

Letters: B batch, H W grid, C channels, N = 1 + H W tokens (a class token first), h heads, d = C / h.
"""

import keras
from keras import initializers, layers, ops

from keras_vit.layers.attention_hooks import report_attention
from keras_vit.layers.depthwise import DepthwiseConv2D
from keras_vit.layers.heads import check_heads, merge_heads, split_heads
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.scales import map_as_tokens, patches_as_map
from keras_vit.layers.sizes import sizes

EPSILON = 1e-6  # of the LayerNorms in blocks and before the classifier, in the published code
WINDOWS = (3, 5, 7)  # of the convolutional relative position encoding, one per group of heads


def uniform(fan_in):
    """Within 1 / sqrt(fan_in): PyTorch's default, which the published code keeps for its convolutions."""
    return initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)


def layer_norm(name, dtype=None):
    """LayerNorm with the epsilon of the published code."""
    return layers.LayerNormalization(epsilon=EPSILON, dtype=dtype, name=name)


@keras.saving.register_keras_serializable("keras_vit")
class ConvPositions(layers.Layer):
    """Convolutional position encoding: the patches plus their depthwise 3 x 3 convolution (Sec. 3.3).

    The class token stays.

    Args:
        height, width: the grid H, W; None where the map of the patches says it.
    Input:   (B, 1 + H W, C) and, without height and width, the map of the patches, of which the size alone is read.
    Output:  as the first input.
    """

    def __init__(self, height=None, width=None, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def build(self, x_shape, patches_shape=None):
        self.proj = layers.DepthwiseConv2D(
            3, padding="same", depthwise_initializer=uniform(9), dtype=self.dtype_policy, name="proj"
        )
        self.proj.build((None, None, None, x_shape[-1]))

    def call(self, x, patches=None):
        grid = (self.height, self.width) if patches is None else sizes(patches)[:2]
        positions = self.proj(patches_as_map(x, grid))
        # As tokens: a sum right behind a depthwise convolution makes TensorFlow 2.21 give up optimising the graph.
        return x + map_as_tokens(ops.zeros_like(x[:, :1]), positions)

    def compute_output_shape(self, x_shape, patches_shape=None):
        return x_shape


@keras.saving.register_keras_serializable("keras_vit")
class ConvRelativePositions(layers.Layer):
    """Convolutional relative position encoding E = Q * conv(V), elementwise (Sec. 3.3).

    A depthwise convolution is a table of weights by relative position, one per channel; groups of heads have windows of
    3, 5 and 7. Channels are ordered head by head, so a group of heads is a run of channels.

    Args:
        height, width: the grid H, W; None where the map of the patches says it.
        head_groups: heads with each window of `WINDOWS`; their sum must divide C.
    Input:   queries, keys and values (B, 1 + H W, 3 C) and, without height and width, the map of the patches, of which
        the size alone is read.
    Output:  (B, 1 + H W, C), zero for the class token.
    """

    def __init__(self, height=None, width=None, head_groups=(2, 3, 3), **kwargs):
        super().__init__(**kwargs)
        self.height, self.width, self.head_groups = height, width, tuple(head_groups)

    def build(self, qkv_shape, patches_shape=None):
        d = qkv_shape[-1] // 3 // sum(self.head_groups)
        self.widths = [heads * d for heads in self.head_groups]
        self.convs = []
        for i, (window, width) in enumerate(zip(WINDOWS, self.widths)):
            init, dtype = uniform(window**2), self.dtype_policy
            part = DepthwiseConv2D(window, padding="same", depthwise_initializer=init, dtype=dtype, name=f"conv{i}")
            part.build((None, None, None, width))
            self.convs.append(part)

    def call(self, qkv, patches=None):
        grid = (self.height, self.width) if patches is None else sizes(patches)[:2]
        q, _, v = (patches_as_map(t, grid) for t in ops.split(qkv, 3, axis=-1))
        # Slices, as XNNPACK takes no split into unequal parts: CoaT-Tiny in 5 pieces, not 19 (LiteRT 2.3).
        groups, start = [], 0
        for part, width in zip(self.convs, self.widths):
            groups.append(part(v[..., start : start + width]))
            start += width
        e = q * ops.concatenate(groups, axis=-1)  # B H W C
        return map_as_tokens(ops.zeros_like(qkv[:, :1, : e.shape[-1]]), e)

    def compute_output_shape(self, qkv_shape, patches_shape=None):
        return (*qkv_shape[:-1], qkv_shape[-1] // 3)


@keras.saving.register_keras_serializable("keras_vit")
class ProjectQKV(layers.Layer):
    """The start of a block: LayerNorm, then queries, keys and values side by side.

    Args:
        num_heads: heads h that will share the channels; must divide C.
    Input:   (B, N, C).      Output: (B, N, 3 C).

    Raises:
        ValueError: if C is not a multiple of num_heads.
    """

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, shape):
        dtype, C = self.dtype_policy, shape[-1]
        check_heads(self, C)
        self.norm1 = layer_norm("norm1", dtype)
        self.qkv = layers.Dense(3 * C, kernel_initializer=initial_normal(), dtype=dtype, name="qkv")
        self.norm1.build(shape)
        self.qkv.build(shape)

    def call(self, x):
        return self.qkv(self.norm1(x))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 3 * shape[-1])


def factorised_attention(qkv, num_heads):
    """Q (softmax(K)^T V) / sqrt(d), the softmax over tokens, in float32 (Sec. 3.2).  (B, N, 3 C) -> (B, N, C)."""
    q, k, v = (split_heads(t, num_heads) for t in ops.split(qkv, 3, axis=-1))  # B h N d
    weights = ops.cast(ops.softmax(ops.cast(k, "float32"), axis=2), v.dtype)
    scale = q.shape[-1] ** -0.5
    report_attention(lambda: (q * scale, weights))
    context = ops.matmul(ops.transpose(weights, (0, 1, 3, 2)), v)  # B h d d
    return merge_heads(ops.matmul(q, context * scale))
