"""The pre-norm transformer encoder block -- Dosovitskiy et al., ViT, arXiv:2010.11929, Fig. 1 right."""

import keras
from keras import layers

from keras_vit.layers.attention import SelfAttention
from keras_vit.layers.drop_path import drop_path
from keras_vit.layers.layer_scale import LayerScale
from keras_vit.layers.mlp import MLP


@keras.saving.register_keras_serializable("keras_vit")
class EncoderBlock(layers.Layer):
    """Pre-norm encoder block, ViT, Eq. 2 and 3.

        z' = MSA(LN(z)) + z,    z'' = MLP(LN(z')) + z'

    With layer scale (CaiT, arXiv:2103.17239, Eq. 4) each branch is multiplied by a learned factor per channel.

    Args:
        num_heads: heads h; must divide C.
        mlp_ratio: hidden width of the MLP in units of C.
        drop_path_rate: probability, in [0, 1), of skipping a branch for a whole sample.
        epsilon: of both LayerNorms.
        qkv_bias: whether the projection to q, k and v has a bias.
        layer_scale: initial value of the factors on both branches; None for no factors.
        relative_positions: whether attention sees the offset between two tokens, see `SelfAttention`.
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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads, self.mlp_ratio, self.drop_path_rate = num_heads, mlp_ratio, drop_path_rate
        self.epsilon, self.qkv_bias, self.layer_scale = epsilon, qkv_bias, layer_scale
        self.relative_positions = relative_positions

    def build(self, shape):
        dtype = self.dtype_policy
        self.norm1 = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm1")
        self.attn = SelfAttention(self.num_heads, self.qkv_bias, self.relative_positions, dtype=dtype, name="attn")
        self.norm2 = layers.LayerNormalization(epsilon=self.epsilon, dtype=dtype, name="norm2")
        self.mlp = MLP(int(self.mlp_ratio * shape[-1]), dtype=dtype, name="mlp")
        self.drop_path = drop_path(self.drop_path_rate, rank=3, dtype=dtype)
        parts = [self.norm1, self.attn, self.norm2, self.mlp, self.drop_path]
        if self.layer_scale is not None:
            self.scale1 = LayerScale(self.layer_scale, dtype=dtype, name="scale1")
            self.scale2 = LayerScale(self.layer_scale, dtype=dtype, name="scale2")
            parts += [self.scale1, self.scale2]
        for part in parts:
            part.build(shape)

    def call(self, x):
        attended = self.attn(self.norm1(x))
        x = x + self.drop_path(attended if self.layer_scale is None else self.scale1(attended))
        mixed = self.mlp(self.norm2(x))
        return x + self.drop_path(mixed if self.layer_scale is None else self.scale2(mixed))

    def compute_output_shape(self, shape):
        return shape
