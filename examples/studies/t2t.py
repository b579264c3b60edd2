"""T2T-ViT, arXiv:2101.11986: the T2T module against plain patches, and deep and narrow against shallow and wide."""

from dataclasses import replace

from keras import layers

from examples.studies.study import Study, family
from keras_vit.layers import PrependToken
from keras_vit.layers.initializers import initial_normal
from keras_vit.models import t2t
from keras_vit.models.family import Variant

STRIDE = 16  # pixels: total stride of the three soft splits, and side of a plain patch
DEEP = t2t.Config(embed_dim=64, depth=6, num_heads=4, mlp_ratio=2, token_dim=16)
WIDE = replace(DEEP, embed_dim=112, depth=2)  # as many parameters


def build_plain(config, image, head, drop_path_rate=0.0):
    """T2T-ViT's backbone on the patches of ViT, 16 x 16 pixels each.  (B, H, W, 3) -> (B, K)."""
    D, init = config.embed_dim, initial_normal()
    patches = layers.Conv2D(D, STRIDE, strides=STRIDE, kernel_initializer=init, name="patch_embed")(image)  # B H W D
    x = layers.Reshape((-1, D), name="flatten_patches")(patches)  # B N D
    x = PrependToken(name="class_token")(x)  # B 1+N D
    x = t2t.SinusoidPositions(1, name="positions")(x, patches)
    x = t2t.encoder(x, config, drop_path_rate)
    x = layers.LayerNormalization(epsilon=t2t.EPSILON, name="norm")(x)
    x = head.pool_tokens(x, patches)  # B D
    return head.classify(x) if head.include_top else x


PLAIN = family("T2T-ViT", "2101.11986", build_plain, t2t.sides)

STUDY = Study(
    name="t2t",
    title="T2T-ViT: the T2T module, and deep and narrow against shallow and wide",
    source="arXiv:2101.11986, its ablations of the T2T module and of the deep-narrow structure",
    arms={
        "T2T module (Performer), deep and narrow": Variant("T2TPerformer", t2t.T2T, DEEP),
        "T2T module (Transformer), deep and narrow": Variant("T2TTransformer", t2t.T2T, replace(DEEP, performer=False)),
        "plain patches, deep and narrow": Variant("T2TPlain", PLAIN, DEEP),
        "T2T module (Performer), shallow and wide": Variant("T2TWide", t2t.T2T, WIDE),
    },
    img_size=64,
)
