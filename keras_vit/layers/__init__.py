"""Layers and functions that at least two families share: one idea per file."""

from keras_vit.layers.attention import SelfAttention, scaled_dot_product_attention
from keras_vit.layers.attention_hooks import report_attention
from keras_vit.layers.drop_path import drop_path, drop_path_rates
from keras_vit.layers.encoder_block import EncoderBlock, PreNormBlock
from keras_vit.layers.heads import merge_heads, split_heads
from keras_vit.layers.layer_scale import LayerScale
from keras_vit.layers.mlp import MLP
from keras_vit.layers.swiglu import SwiGLU
from keras_vit.layers.tokens import PositionEmbedding, PrependToken, PrependTokens, SelectToken, TokensToGrid

__all__ = [
    "EncoderBlock",
    "LayerScale",
    "MLP",
    "PositionEmbedding",
    "PreNormBlock",
    "PrependToken",
    "PrependTokens",
    "SelectToken",
    "SelfAttention",
    "SwiGLU",
    "TokensToGrid",
    "drop_path",
    "drop_path_rates",
    "merge_heads",
    "report_attention",
    "scaled_dot_product_attention",
    "split_heads",
]


def __dir__():
    return sorted(__all__)
