"""Fields of a configuration from elsewhere, and what a model of its sizes takes."""

import pytest

from keras_vit.models import VARIANTS, convnext
from keras_vit.models.config_fields import Architecture, Fields, UnsupportedModelError, least_weights, mlp_ratio
from tests.models.toys import TOYS


def fields(**entries):
    return Fields("config.json", entries, {"given": 3})


def test_values_that_are_left_out_are_the_librarys():
    assert [fields(**given).whole("given") for given in ({}, {"given": None}, {"given": 4})] == [3, 3, 4]


def test_values_as_the_libraries_write_them():
    one = fields(a=[1, 2], b=8, c=[8, 6], d={"height": 8, "width": 6}, e=True, f=1e-6, g="silu", h=[1.5, 2])
    assert one.wholes("a") == (1, 2) and one.side("b") == 8
    assert one.sides("b") == (8, 8) and one.sides("c") == one.sides("d") == (8, 6)
    assert one.flag("e") is True and one.number("f") == 1e-6 and one.choice("g", {"silu": "x"}) == "x"
    assert one.numbers("h", 2) == (1.5, 2)


@pytest.mark.parametrize(
    "read",
    [
        lambda one: one.whole("a"),
        lambda one: one.wholes("a"),
        lambda one: one.wholes("list", length=3),
        lambda one: one.numbers("list", 3),
        lambda one: one.number("a"),
        lambda one: one.flag("a"),
        lambda one: one.choice("a", {"b": 1}),
        lambda one: one.choice("list", {"b": 1}),
        lambda one: one.sides("a"),
        lambda one: one.side("list"),
        lambda one: one.whole("large"),
        lambda one: one.whole("truth"),
        lambda one: one.number("infinite"),
        lambda one: one.require("a", False, None),
        lambda one: one.require_heads("a", [9], [4]),
        lambda one: one.wholes("long"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_file(read):
    values = {"a": "x", "list": [1, 2], "large": 10**9, "truth": True, "infinite": float("inf"), "long": [1] * 99}
    with pytest.raises(UnsupportedModelError, match=r"config.json: (\w+): expected .*Received: \1="):
        read(fields(**values))


@pytest.mark.parametrize("width", [3, 24, 49, 192, 1111])
def test_the_ratio_gives_the_hidden_width_back(width):
    for hidden in range(1, 500):
        assert int(mlp_ratio(width, hidden) * width) == hidden


@pytest.mark.parametrize("name", ["vit", "deit3", "swin", "convnext", "pvt", "pvt_v2", "dinov2"])
def test_the_least_weights_of_a_model_are_not_more_than_it_has(name):
    variant, shape = TOYS[name]
    count = variant(weights=None, input_shape=shape, include_top=False).count_params()
    assert least_weights(Architecture(variant.family, variant.config, shape)) <= count


@pytest.mark.parametrize("name", ["ViTL16", "SwinL", "ConvNeXtXL", "PVTV2B5", "PVTLarge", "DINOv2L"])
def test_the_least_weights_of_a_published_model_are_near_to_what_it_has(name):
    variant = VARIANTS[name]
    least = least_weights(Architecture(variant.family, variant.config, (224, 224, 3)))
    assert variant.parameters / 4 < least < variant.parameters


def test_a_size_that_a_family_cannot_run_names_the_file():
    small = Architecture(convnext.CONVNEXT, convnext.Config((1, 1), (4, 4)), (4, 4, 3))
    with pytest.raises(UnsupportedModelError, match=r"here.json: image_size=\[4, 4\].*at least 8 x 8"):
        small.check("here.json")
