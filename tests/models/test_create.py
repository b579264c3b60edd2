"""Models by name: arguments, sizes, weights, and what unknown names offer."""

import pytest

import keras_vit
from keras_vit.models import create
from keras_vit.weights import catalogue


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


def test_a_tag_in_the_name_and_other_weights_contradict_each_other():
    with pytest.raises(ValueError, match="names the weights"):
        keras_vit.create_model("SwinT.ms_in22k", weights="ms_in1k")


def test_a_size_in_the_name_is_the_models():
    assert keras_vit.create_model("vit_tiny_patch16_384").input_shape == (None, 384, 384, 3)
    assert keras_vit.create_model("vit_tiny_patch16_224").input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize("name", ["SwinT.ms_in22k", "vit_base_patch16_384.augreg_in1k"])
def test_a_tag_in_the_name_is_handed_to_the_constructor(monkeypatch, name):
    received = {}
    row = keras_vit.info(name).weights[0]
    monkeypatch.setitem(create.VARIANTS, row.constructor, lambda **arguments: received.update(arguments))
    keras_vit.create_model(name, classes=5)
    assert received == {"weights": row.tag, "classes": 5}


def test_a_published_model_has_the_weights_classes_and_size_of_its_row(monkeypatch):
    received = {}
    row = catalogue.find("ViTB16", "augreg_in1k@384")
    monkeypatch.setitem(create.VARIANTS, "ViTB16", lambda **arguments: received.update(arguments))
    create.create_published(row)
    assert received == {"weights": "augreg_in1k@384", "classes": 1000, "input_shape": (384, 384, 3)}


def test_weights_without_a_classifier_are_no_published_classifier():
    with pytest.raises(ValueError, match="ViTB16.dino was published without a classifier"):
        create.create_published(catalogue.find("ViTB16", "dino"))
