"""ViT, arXiv:2010.11929: class token against average pooling (App. D.3), and the four positions (App. D.4, Table 8).

`keras_vit.models.vit` builds each of them.
"""

from examples.studies.study import Study
from keras_vit.models.family import Variant
from keras_vit.models.vit import VIT, Config


def arm(name, **changes):
    """A variant that differs from the paper's ViT by the changes."""
    return Variant(name, VIT, Config(embed_dim=64, depth=4, num_heads=4, patch_size=8, mlp_ratio=2, **changes))


STUDY = Study(
    name="vit",
    title="ViT: class token or average pooling, and positions",
    source="arXiv:2010.11929, App. D.3 and App. D.4, Table 8",
    arms={
        "class token, 1-D positions": arm("ViTToken"),
        "average pooling, 1-D positions": arm("ViTAverage", pool="gap"),
        "class token, no positions": arm("ViTNone", positions="none"),
        "class token, 2-D positions": arm("ViT2D", positions="learned_2d"),
        "class token, relative positions": arm("ViTRelative", positions="relative"),
    },
)
