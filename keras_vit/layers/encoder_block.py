"""The pre-norm transformer encoder block -- Dosovitskiy et al., ViT, arXiv:2010.11929, Fig. 1 right."""

import keras
from keras import layers

from keras_vit.layers.attention import SelfAttention
from keras_vit.layers.drop_path import drop_path
from keras_vit.layers.layer_scale import LayerScale
from keras_vit.layers.mlp import MLP


class PreNormBlock(layers.Layer):
    """Base of the encoder blocks (ViT, Eq. 2 and 3); subclasses choose the attention and the MLP.

        z' = attn(LN(z)) + z,    z'' = mlp(LN(z')) + z'

    Subclasses define `make_attention()` and `make_mlp(width)`, which return the layers `attn` and `mlp`, and `epsilon`
    of the norms.

    Input:   (B, N, C) or (B, H, W, C).      Output: as the input.
    """

    epsilon = 1e-6

    def __init__(self, drop_path_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.drop_path_rate = drop_path_rate

    def build(self, shape):
        dtype = self.dtype_policy
        self.norm1 = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm1")
        self.attn = self.make_attention()
        self.norm2 = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm2")
        self.mlp = self.make_mlp(shape[-1])
        self.drop_path = drop_path(self.drop_path_rate, rank=len(shape), dtype=dtype)
        for part in (self.norm1, self.attn, self.norm2, self.mlp, self.drop_path):
            part.build(shape)

    def call(self, z):
        z = z + self.drop_path(self.attn(self.norm1(z)))
        return z + self.drop_path(self.mlp(self.norm2(z)))

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class EncoderBlock(PreNormBlock):
    """ViT's encoder block: multi-head self-attention, then MLP.

    With layer scale (CaiT, arXiv:2103.17239, Eq. 4) each branch is multiplied by a learned factor per channel.

    Args:
        num_heads: heads h; must divide C.
        mlp_ratio: hidden width of the MLP in units of C.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
        epsilon: of both LayerNorms.
        qkv_bias: whether the projection to q, k and v has a bias.
        layer_scale: initial value of the factors on both branches; None for no factors.
        relative_positions: whether attention sees the offset between two tokens, see `SelfAttention`.
        activation: of the MLP, of `ACTIVATIONS`.
    Input:   (B, N, C).      Output: (B, N, C).
    """

    def __init__(
        self,
        num_heads,
        mlp_ratio=4.0,
        drop_path_rate=0.0,
        epsilon=1e-6,
        qkv_bias=True,
        layer_scale=None,
        relative_positions=False,
        activation="gelu",
        **kwargs,
    ):
        super().__init__(drop_path_rate, **kwargs)
        self.num_heads, self.mlp_ratio = num_heads, mlp_ratio
        self.epsilon, self.qkv_bias, self.layer_scale = epsilon, qkv_bias, layer_scale
        self.relative_positions, self.activation = relative_positions, activation

    def make_attention(self):
        bias, relative = self.qkv_bias, self.relative_positions
        return SelfAttention(self.num_heads, bias, relative, dtype=self.dtype_policy, name="attn")

    def make_mlp(self, width):
        return MLP(int(self.mlp_ratio * width), self.activation, dtype=self.dtype_policy, name="mlp")

    def build(self, shape):
        super().build(shape)
        self.scale1, self.scale2 = (self.make_scale(name) for name in ("scale1", "scale2"))
        self.scale1.build(shape)
        self.scale2.build(shape)

    def make_scale(self, name):
        """Layer scale at the end of a branch, or the identity."""
        if self.layer_scale is None:
            return layers.Identity(dtype=self.dtype_policy, name=name)
        return LayerScale(self.layer_scale, dtype=self.dtype_policy, name=name)

    def call(self, z):
        z = z + self.drop_path(self.scale1(self.attn(self.norm1(z))))
        return z + self.drop_path(self.scale2(self.mlp(self.norm2(z))))
