"""Models by name."""

import pytest

import keras_vit
from keras_vit.models import VARIANTS
from keras_vit.sources import registry
from tests.sources import variants


@pytest.mark.parametrize("path", variants.FILES, ids=lambda path: path.name)
def test_what_is_derived_from_the_variants_is_current(path):
    """If this fails: python -m tests.sources.variants --write."""
    assert path.read_text() == variants.FILES[path]()


def test_entries_are_in_the_order_of_the_families():
    assert list(registry.entries()) == list(VARIANTS)


@pytest.mark.parametrize(
    "name, variant, tag",
    [
        ("SwinT", "SwinT", None),
        ("swin_tiny_patch4_window7_224", "SwinT", None),
        ("swin_tiny_patch4_window7_224.ms_in22k", "SwinT", "ms_in22k"),
        ("SwinT.ms_in22k", "SwinT", "ms_in22k"),
        ("vit_base_patch16_384", "ViTB16", None),
        ("vit_base_patch16_384.augreg_in1k", "ViTB16", "augreg_in1k@384"),
        ("convnext_isotropic_small", "ConvNeXtIsoS", None),
    ],
)
def test_lookup(name, variant, tag):
    found, row = registry.lookup(name)
    assert found.name == variant and (row.tag if row else None) == tag


@pytest.mark.parametrize(
    "name, closest",
    [("SwinTT", "SwinT"), ("swin_tiny", "swin_tiny_patch4_window7_224"), ("ViT-B16", "ViTB16"), ("VitB16", "ViTB16")],
)
def test_unknown_names_offer_the_closest(name, closest):
    with pytest.raises(ValueError, match=closest):
        registry.lookup(name)


def test_unknown_tags_offer_the_closest():
    with pytest.raises(ValueError, match="ms_in22k_ft_in1k"):
        registry.lookup("SwinT.ms_in22k_ft_in1")


@pytest.mark.parametrize(
    "name, side", [("vit_tiny_patch16_384", 384), ("vit_tiny_patch16_224", 224), ("ViTTi16", 224), ("TNTTi", 224)]
)
def test_a_size_in_the_name_is_the_image_size(name, side):
    assert registry.image_size_of(name) == (side, side)


@pytest.mark.parametrize(
    "name, row",
    [
        ("SwinT", "SwinT.ms_in1k"),
        ("SwinT.ms_in22k", "SwinT.ms_in22k"),
        ("vit_base_patch16_384.augreg_in1k", "ViTB16.augreg_in1k@384"),
    ],
)
def test_resolve_row(name, row):
    assert registry.resolve_row(name).name == row


def test_a_model_without_default_weights_has_no_row():
    with pytest.raises(ValueError, match="TNTTi has no default weights"):
        registry.resolve_row("TNTTi")


def test_list_models():
    assert keras_vit.list_models("swin*") == ["SwinT", "SwinS", "SwinB", "SwinL", "SwinB384", "SwinL384"]
    assert keras_vit.list_models("vit_tiny_patch16*") == ["ViTTi16"]
    assert "SwinT.ms_in22k" in keras_vit.list_models("SwinT*", pretrained=True)
    assert keras_vit.list_models("nothing") == []


def test_info_shows_what_a_user_must_know():
    text = str(keras_vit.info("SwinT"))
    for part in (
        "28,288,354",
        "arXiv:2103.14030",
        "ms_in1k",
        "(default)",
        "MIT",
        "81.",
        "bicubic",
        "not measured here",
    ):
        assert part.lower() in text.lower(), part
    assert len(keras_vit.info("SwinT.ms_in22k").weights) == 1
    assert "224 x 224" in text
