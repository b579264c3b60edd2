"""A model's weights in another library's layout are read back to the bit, and what it lacks is said."""

import re

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.models.saving import entries
from keras_vit.weights import readers, writing
from keras_vit.weights.rules import LIBRARIES
from tests.models.toys import TOYS

FAMILIES = {name: toy for name, toy in TOYS.items() if not name.startswith("t2t")}
ALWAYS = ("vit", "deit_distilled", "swin", "coat_lite")  # the others are slow


def build(name, **options):
    variant, shape = TOYS[name]
    model, rng = variant(weights=None, input_shape=shape, **options), np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape).astype("float32"))
    return model


def bits(variable):
    return keras.ops.convert_to_numpy(variable).view("uint32")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in ALWAYS)) for n in FAMILIES])
def test_weights_are_read_back_to_the_bit(tmp_path, name):
    (variant, shape), path = TOYS[name], tmp_path / "w.safetensors"
    for options in ({"classes": 5}, {"include_top": False}):
        model = build(name, **options)
        shapes = {variable.path: tuple(variable.shape) for variable in model.weights}
        libraries = [one for one in LIBRARIES if writing.suiting(variant.family.layouts, one, shapes)]
        assert libraries or name in ("convnext_isotropic", "pvt", "dinov2_registers")  # with these sizes, or at all
        for layout in (*libraries, "keras"):
            keras_vit.save_weights(model, path, layout)
            again = variant(weights=path, input_shape=shape, **options)
            for variable, other in zip(model.weights, again.weights):
                np.testing.assert_array_equal(bits(variable), bits(other), f"{layout} {variable.path}")


def test_entries_have_the_names_and_shapes_of_the_library():
    model = build("vit", classes=5)
    timm, transformers = entries(model, "timm"), entries(model, "transformers")
    assert timm["blocks.1.attn.qkv.weight"].shape == (72, 24) and timm["patch_embed.proj.weight"].shape == (24, 3, 8, 8)
    assert len(timm) == 32 and len(transformers) == 40
    kernel = keras.ops.convert_to_numpy(model.get_layer("head").kernel)
    np.testing.assert_array_equal(timm["head.weight"], kernel.T)
    np.testing.assert_array_equal(transformers["classifier.weight"], kernel.T)


def test_a_loaded_model_is_written_by_its_layers(tmp_path):
    model, path = build("swin", classes=5), tmp_path / "w.safetensors"
    model.save(tmp_path / "m.keras")
    keras_vit.save_weights(keras.saving.load_model(tmp_path / "m.keras"), path, layout="timm")
    assert set(readers.read(path)) == set(entries(model, "timm"))


def test_what_a_library_lacks_is_said_with_what_is_possible(tmp_path):
    path = tmp_path / "w.safetensors"
    for name, layout, message in (
        (
            "hybrid_stem",
            "transformers",
            "transformers has no ViT hybrid. It has: ViT, .*Possible here: layout='timm', ",
        ),
        ("convnext_isotropic", "timm", "timm has no ConvNeXt.*Possible here: layout='keras'$"),
        (
            "dinov2",
            "timm",
            "timm has no DINOv2 with these layers.*Possible here: layout='transformers', layout='keras'",
        ),
        ("t2t", "timm", "no model of a family.*layout='keras'"),
    ):
        with pytest.raises(ValueError, match=message):
            keras_vit.save_weights(build(name, classes=5), path, layout=layout)
    assert not path.exists()


def test_paths_and_layouts_that_are_not_to_be_had(tmp_path):
    model = build("vit", classes=5)
    for name in ("w.npz", "w.pth", "w"):
        with pytest.raises(ValueError, match=f"ends in .safetensors. Received: '{re.escape(str(tmp_path / name))}'"):
            keras_vit.save_weights(model, tmp_path / name)
    with pytest.raises(
        ValueError, match="layout: expected one of 'timm', 'transformers', 'keras'. Received: .*'official'"
    ):
        keras_vit.save_weights(model, tmp_path / "w.safetensors", layout="official")


def test_half_precision_variables_become_float32(tmp_path):
    variant, shape = Variant("Toy", vit.VIT, vit.Config(24, 1, 3, 8)), (16, 16, 3)
    model, path = variant(weights=None, input_shape=shape, classes=5, dtype="bfloat16"), tmp_path / "w.safetensors"
    keras_vit.save_weights(model, path, layout="timm")
    again = variant(weights=path, input_shape=shape, classes=5, dtype="bfloat16")
    for variable, other in zip(model.weights, again.weights):
        same = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32") == keras.ops.cast(other, "float32"))
        assert same.all(), variable.path


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_a_backbone_takes_the_weights_of_a_classifier(tmp_path, suffix):
    (variant, shape), path = TOYS["vit"], str(tmp_path / f"model{suffix}")
    model = build("vit", classes=5)
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    backbone = variant(include_top=False, weights=path, input_shape=shape)
    stored = {weight.path: bits(weight) for weight in model.weights}
    assert len(backbone.weights) == len(stored) - 2
    for weight in backbone.weights:
        np.testing.assert_array_equal(bits(weight), stored[weight.path])
