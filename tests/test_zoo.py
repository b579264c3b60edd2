"""Models by name."""

import pytest

import keras_vit
from keras_vit import zoo


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
    found, row = zoo.lookup(name)
    assert found.name == variant and (row.tag if row else None) == tag


@pytest.mark.parametrize(
    "name, closest",
    [("SwinTT", "SwinT"), ("swin_tiny", "swin_tiny_patch4_window7_224"), ("ViT-B16", "ViTB16"), ("VitB16", "ViTB16")],
)
def test_unknown_names_offer_the_closest(name, closest):
    with pytest.raises(ValueError, match=closest):
        keras_vit.create_model(name)


def test_unknown_tags_offer_the_closest():
    with pytest.raises(ValueError, match="ms_in22k_ft_in1k"):
        keras_vit.create_model("SwinT.ms_in22k_ft_in1")


def test_create_model_takes_the_constructors_arguments():
    model = keras_vit.create_model("convnext_atto", classes=7, input_shape=(64, 64, 3))
    assert model.output_shape == (None, 7) and model.name == "convnext_atto"
    with pytest.raises(TypeError, match="drop_path"):
        keras_vit.create_model("convnext_atto", drop_path=0.1)
    with pytest.raises(ValueError, match="names the weights"):
        keras_vit.create_model("SwinT.ms_in22k", weights="ms_in1k")


def test_an_alias_speaks_of_its_size():
    assert keras_vit.create_model("vit_tiny_patch16_384").input_shape == (None, 384, 384, 3)
    assert keras_vit.create_model("vit_tiny_patch16_224").input_shape == (None, 224, 224, 3)


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
