"""The published names: exact parameter counts, none forgotten, none without its catalogue rows."""

import keras
import pytest

import keras_vit
from keras_vit.models import VARIANTS
from keras_vit.weights import catalogue
from tests.models.cases import params

NATIVE = 224
LARGE = 80_000_000  # parameters, from which on models are counted in `make test-all`
# Sizes at which the papers and timm count, where it is not 224.
COUNTED_AT = {"ViTL32": 384, "ViTR50B16": 384, "SwinB384": 384, "SwinL384": 384}
COUNTED_AT |= {name: 518 for name in VARIANTS if name.startswith("DINOv2")}


@pytest.mark.parametrize("name", params([name for name in VARIANTS if VARIANTS[name].parameters < LARGE], VARIANTS))
def test_parameter_count_is_exact(name):
    size = COUNTED_AT.get(name, NATIVE)
    with keras.StatelessScope(initialize_variables=False):  # shapes only: the largest would take 4.5 GB
        model = VARIANTS[name](weights=None, input_shape=(size, size, 3))
    assert model.count_params() == VARIANTS[name].parameters
    assert model.name == VARIANTS[name].snake_name


def test_names_agree_with_attributes():
    assert {name for name in dir(keras_vit.models) if name[0].isupper()} == {"VARIANTS", *VARIANTS}
    with pytest.raises(AttributeError, match="SwinQ"):
        keras_vit.models.SwinQ
    for name, variant in VARIANTS.items():
        assert variant.name == name and getattr(keras_vit.models, name) is variant
    assert len({variant.snake_name for variant in VARIANTS.values()}) == len(VARIANTS)


def test_every_constructor_of_the_catalogue_exists():
    assert {row.constructor for row in catalogue.rows()} <= set(VARIANTS)


def test_signature_is_that_of_keras_applications():
    import inspect

    ours = list(inspect.signature(keras_vit.models.SwinT).parameters.values())
    theirs = list(inspect.signature(keras.applications.ResNet50).parameters)
    positional = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == theirs
    assert {p.name for p in ours if p.kind is p.KEYWORD_ONLY} == {
        "include_preprocessing",
        "drop_rate",
        "drop_path_rate",
        "dtype",
        "native_size",
        "dynamic_img_pad",
        "patch_size",
    }
    assert next(p.default for p in ours if p.name == "name") == "swin_t"


@pytest.mark.parametrize(
    "name, model_name",
    [
        ("ViTB16", "vit_b16"),
        ("ViTRTi16", "vit_r_ti16"),
        ("ConvNeXtXL", "convnext_xl"),
        ("DeiTSDistilled", "deit_s_distilled"),
        ("TNTSLegacy", "tnt_s_legacy"),
        ("T2TViT14ResNeXt", "t2t_vit14_resnext"),
        ("PVTV2B2Li", "pvt_v2_b2_li"),
        ("DINOv2GReg4", "dinov2_g_reg4"),
    ],
)
def test_default_model_names(name, model_name):
    assert VARIANTS[name].snake_name == model_name
