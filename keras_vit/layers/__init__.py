"""What at least two families share: one idea per file."""

from keras_vit.layers.attention import SelfAttention, attend, merge_heads, split_heads
from keras_vit.layers.drop_path import drop_path, drop_path_rates
from keras_vit.layers.encoder_block import EncoderBlock, PreNormBlock
from keras_vit.layers.layer_scale import LayerScale
from keras_vit.layers.mlp import MLP
from keras_vit.layers.observe import report_attention
from keras_vit.layers.tokens import GridOfTokens, PositionEmbedding, PrependToken, TakeToken

__all__ = [
    "EncoderBlock",
    "GridOfTokens",
    "LayerScale",
    "MLP",
    "PositionEmbedding",
    "PreNormBlock",
    "PrependToken",
    "SelfAttention",
    "TakeToken",
    "attend",
    "drop_path",
    "drop_path_rates",
    "merge_heads",
    "report_attention",
    "split_heads",
]
