"""Any model of a family is recognised by its layers alone, and none that merely looks like one."""

import keras
import pytest
from keras import layers

from keras_vit.models import VARIANTS, deit, recognition, vit
from keras_vit.models.family import Variant
from keras_vit.models.recognition import recognize
from tests.models.toys import TOYS

FAMILIES = {name: toy for name, toy in TOYS.items() if not name.startswith("t2t")}
CHEAP = ("vit", "swin")
TWINS = ("hybrid_stem", "deit", "deit3", "dinov2", "tnt_legacy", "pvt", "pvt_v2_linear", "coat")  # of quicker ones


def build(name, **options):
    variant, shape = TOYS[name]
    return variant(weights=None, input_shape=shape, **options)


def check(name, model):
    found, (_, shape) = recognize(model), TOYS[name]
    again = Variant("Again", found.architecture.family, found.architecture.config)
    options = {"classes": found.classes} if found.classes else {"include_top": False}
    same = again(weights=None, input_shape=found.architecture.input_shape, **options)
    assert {v.path: v.shape for v in same.weights} == {v.path: v.shape for v in model.weights}
    assert found.architecture.input_shape == shape
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in TWINS)) for n in FAMILIES])
def test_every_family_is_recognised(name):
    found = check(name, build(name, classes=5))
    variant, _ = TOYS[name]
    kind = vit.VIT if variant.family is deit.DEIT else variant.family
    assert found.architecture.family is kind and found.classes == 5 and found.activation == "softmax"
    stated, config = vars(found.architecture.config), vars(variant.config)
    for field in config:  # of published lengths, PVT v2's patches are those of the stages that there are
        whole = isinstance(config[field], tuple)
        assert stated[field] == (config[field][: len(stated[field])] if whole else config[field]), field


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in CHEAP)) for n in FAMILIES])
def test_other_ways_to_build_a_model_are_no_matter(name):
    options = {"drop_rate": 0.1, "drop_path_rate": 0.2, "include_preprocessing": True, "classifier_activation": None}
    found = check(name, build(name, classes=7, **options))
    assert (found.classes, found.activation, found.takes_pixels) == (7, "linear", True)
    for pooling in (None, "avg"):
        found = check(name, build(name, include_top=False, pooling=pooling))
        assert found.classes is None and found.activation is None


def test_a_loaded_model_is_recognised(tmp_path):
    build("swin", classes=5).save(tmp_path / "m.keras")
    found = check("swin", keras.saving.load_model(tmp_path / "m.keras"))
    assert found.architecture.config == TOYS["swin"][0].config


def test_a_published_variant_is_that_of_its_table():
    name = "ConvNeXtAtto"
    model = VARIANTS[name](weights=None, input_shape=(32, 32, 3))
    assert recognize(model).architecture.config == VARIANTS[name].config


def test_what_a_family_does_not_have_is_refused():
    part = build("vit", classes=5)
    longer = keras.Model(part.inputs, layers.Dense(3, name="more")(part.outputs[0]))
    other = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, name="head")])
    for model in (longer, other, build("t2t", classes=5)):
        with pytest.raises(ValueError, match="no model of a family that can be written.*layout='keras'"):
            recognize(model)


def test_the_table_has_every_family_with_a_layout_of_another_library():
    known = [kind for kind, _ in recognition.READERS]
    for variant in VARIANTS.values():
        if any(layout.library in ("timm", "transformers") for layout in variant.family.layouts):
            assert variant.family in known or variant.family is deit.DEIT, variant
