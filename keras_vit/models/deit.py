"""DeiT -- Touvron et al., ICML 2021, arXiv:2012.12877; DeiT III -- Touvron et al., ECCV 2022, arXiv:2204.07118.

DeiT is ViT, trained on ImageNet alone. Its distilled form has a second learned token beside the class token, whose
classifier learns from a teacher (Sec. 4, Fig. 2). DeiT III trains larger ViTs: layer scale on every branch, one
stochastic-depth rate for all blocks, and a class token that has no position.

Letters: B batch, P patch side, N = H W / P^2 patches, D width (embed_dim), h heads, K classes.

Differences between the checkpoints and this file:
- The distilled model gives the mean of its two heads' logits, then the activation, as the published code does; the
  paper adds the two softmaxes (Sec. 4, "joint classifiers").
- Without the classifier, pooling="token" of a distilled model is the mean of its two tokens, as in timm.
- transformers' DeiT without a teacher has the distillation token all the same, and a classifier of the class token
  (`DEIT_ONE_HEAD`). The published DeiTs without that token are ViTs there.
- DeiT III's official files call layer scale `gamma_1` and `gamma_2`, timm's `ls1.gamma` and `ls2.gamma`.
"""

from dataclasses import replace

import keras
from keras import layers

from keras_vit.imagenet.labels import decode_predictions  # noqa: F401 - part of each family's interface
from keras_vit.layers import (
    PositionEmbedding,
    PrependToken,
    SelectToken,
    TokensToGrid,
    drop_path_rates,
)
from keras_vit.layers.tokens import native_grid
from keras_vit.models import vit
from keras_vit.models.family import IMAGENET, Family, Variant, family_preprocess_input
from keras_vit.weights.patch_kernel import patch_kernel
from keras_vit.weights.resample import positions
from keras_vit.weights.rules import Layout, dense, param

LAYER_SCALE = 1e-4  # what DeiT III's factors start from (Sec. 3.1)

HEADS = ("head", "head_dist")  # layers whose output is logits; models without distillation have the first alone


def build_distilled(config, image, head, drop_path_rate=0.0):
    """Fig. 2: tokens [class, distillation, patches], two classifiers, their mean.  (B, H, W, 3) -> (B, K)."""
    x, patches = _two_tokens(config, image, drop_path_rate)
    if not head.include_top and head.pooling != "token":
        return head.pool_map(TokensToGrid(name="grid")(x, patches))
    tokens = [SelectToken(i, name=f"take_{name}")(x) for i, name in enumerate(("class", "dist"))]
    if not head.include_top:
        return layers.Average(name="mean")(tokens)  # B D
    logits = replace(head, activation=None)
    heads = [logits.classify(token, name) for token, name in zip(tokens, HEADS)]
    x = layers.Average(dtype="float32", name="mean")(heads)  # B K
    return layers.Activation(head.activation, dtype="float32", name="predictions")(x)


def two_heads(model):
    """The logits of both classifiers of a distilled model, which distillation trains (Eq. 2 and 3).

    Args:
        model: a DeiT...Distilled with its classifier, fresh or loaded from a .keras file.

    Returns:
        keras.Model with outputs [class logits, distillation logits], (B, K) each, that shares the layers of `model`.

    Raises:
        ValueError: for any other model.
    """
    names = {layer.name for layer in model.layers}
    if not set(HEADS) <= names:
        raise ValueError(
            "two_heads: expected a distilled DeiT with its classifier, e.g. DeiTTiDistilled(). "
            f"Received: {model.name!r}, which has no layers named head and head_dist"
        )
    heads = [model.get_layer(name).output for name in HEADS]
    return keras.Model(model.input, heads, name=f"{model.name}_two_heads")


def build_one_head(config, image, head, drop_path_rate=0.0):
    """The tokens of `build_distilled`, of which the class token alone is read.  (B, H, W, 3) -> (B, K)."""
    x, patches = _two_tokens(config, image, drop_path_rate)
    x = head.pool_tokens(x, patches)
    return head.classify(x) if head.include_top else x


def _two_tokens(config, image, drop_path_rate):
    """Fig. 2 without the heads: tokens [class, distillation, patches], (B, 2+N, D), and the map of the patches."""
    patches = vit.patch_embed(config, image)
    x = vit.flatten(patches)  # B N D
    x = PrependToken(name="dist_token")(x)
    x = PrependToken(name="class_token")(x)  # B 2+N D
    x = PositionEmbedding(2, native_grid(config.patch_size), name="positions")(x, patches)
    return vit.encoder(config, x, drop_path_rates(drop_path_rate, config.depth)), patches


def build_deit3(config, image, head, drop_path_rate=0.0):
    """Patches, their positions, class token, encoder, classifier.  (B, H, W, 3) -> (B, K)."""
    patches = vit.patch_embed(config, image)
    x = vit.flatten(patches)  # B N D
    x = PositionEmbedding(0, native_grid(config.patch_size), name="positions")(x, patches)
    x = PrependToken(name="class_token")(x)  # B 1+N D
    rates = [drop_path_rate] * config.depth  # "a uniform drop rate across all layers" (Sec. 3.1)
    x = vit.encoder(config, x, rates, layer_scale=LAYER_SCALE)
    x = head.pool_tokens(x, patches)
    return head.classify(x) if head.include_top else x


# Checkpoints -----------------------------------------------------------------------------------------------------


def _deit3_layout(name, gamma1, gamma2):
    scales = param(f"blocks.{{i}}.{gamma1}", "block{i}/scale1/gamma")
    scales += param(f"blocks.{{i}}.{gamma2}", "block{i}/scale2/gamma")
    return Layout(name, (*scales, *vit.TIMM.rules))


DISTILLED = Layout(
    "timm",
    (
        *param("dist_token", "dist_token/token"),
        *dense("head_dist", "head_dist"),
        *vit.TIMM.rules,
    ),
)

# transformers' DeiT always has the distillation token; its positions move bicubically without antialiasing.
TOKEN = param("deit.embeddings.distillation_token", "dist_token/token")
TWO_HEADS = {"cls_classifier": "head", "distillation_classifier": "head_dist"}
PLAIN = {"positions/table": positions(2, antialias=False)}
TEACHER = Layout("transformers", (*TOKEN, *vit.transformers_rules("deit", TWO_HEADS)), PLAIN)
ONE_HEAD = Layout("transformers", (*TOKEN, *vit.transformers_rules("deit", {"classifier": "head"})), PLAIN)

DEIT = Family(
    name="DeiT",
    paper="2012.12877",
    build=vit.build,
    sides=vit.sides,
    layouts=(vit.TIMM, vit.TRANSFORMERS),  # transformers calls it a ViT
    resamplers={"positions/table": positions(1), "patch_embed/kernel": patch_kernel},
    preprocessing=IMAGENET,
)
DEIT_DISTILLED = Family(
    name="DeiT",
    paper="2012.12877",
    build=build_distilled,
    sides=vit.sides,
    layouts=(DISTILLED, TEACHER),
    resamplers={"positions/table": positions(2), "patch_embed/kernel": patch_kernel},
    preprocessing=IMAGENET,
    head=("head", "head_dist"),
)
DEIT_ONE_HEAD = Family(
    name="DeiT",
    paper="2012.12877",
    build=build_one_head,
    sides=vit.sides,
    layouts=(ONE_HEAD,),
    resamplers={"positions/table": positions(2), "patch_embed/kernel": patch_kernel},
    preprocessing=IMAGENET,
)
DEIT3 = Family(
    name="DeiT-III",
    paper="2204.07118",
    build=build_deit3,
    sides=vit.sides,
    layouts=(
        _deit3_layout("timm", "ls1.gamma", "ls2.gamma"),
        _deit3_layout("official", "gamma_1", "gamma_2"),
    ),
    resamplers={"positions/table": positions(0), "patch_embed/kernel": patch_kernel},
    preprocessing=IMAGENET,
)

TINY, SMALL, BASE = (
    vit.ViTTi16.config,
    vit.ViTS16.config,
    vit.ViTB16.config,
)  # DeiT, Table 1; parameters at 224 pixels

DeiTTi = Variant("DeiTTi", DEIT, TINY, 5_717_416, "deit_tiny_patch16_224")
DeiTS = Variant("DeiTS", DEIT, SMALL, 22_050_664, "deit_small_patch16_224")
DeiTB = Variant("DeiTB", DEIT, BASE, 86_567_656, "deit_base_patch16_224")


def _distilled(name, config, parameters, alias):
    return Variant(name, DEIT_DISTILLED, config, parameters, alias)


DeiTTiDistilled = _distilled("DeiTTiDistilled", TINY, 5_910_800, "deit_tiny_distilled_patch16_224")
DeiTSDistilled = _distilled("DeiTSDistilled", SMALL, 22_436_432, "deit_small_distilled_patch16_224")
DeiTBDistilled = _distilled("DeiTBDistilled", BASE, 87_338_192, "deit_base_distilled_patch16_224")


def _deit3(name, parameters, alias, *config):
    return Variant(name, DEIT3, vit.Config(*config), parameters, alias)


# DeiT III's S, M, B and L/16 and H/14: D, L, h, P.
DeiT3S = _deit3("DeiT3S", 22_059_496, "deit3_small_patch16_224", 384, 12, 6, 16)
DeiT3M = _deit3("DeiT3M", 38_849_512, "deit3_medium_patch16_224", 512, 12, 8, 16)
DeiT3B = _deit3("DeiT3B", 86_585_320, "deit3_base_patch16_224", 768, 12, 12, 16)
DeiT3L = _deit3("DeiT3L", 304_374_760, "deit3_large_patch16_224", 1024, 24, 16, 16)
DeiT3H = _deit3("DeiT3H", 632_126_440, "deit3_huge_patch14_224", 1280, 32, 16, 14)

preprocess_input = family_preprocess_input(DeiTB)
