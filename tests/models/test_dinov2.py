"""DINOv2: what its tokens are, what its classifiers read, and three libraries' files with three ways to resample.

tests/golden/dinov2_toys.npz holds what the libraries compute (tests/golden/record_dinov2.py).
"""

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

from keras_vit.models import dinov2
from keras_vit.models.family import Variant
from keras_vit.weights.resample import interpolation_matrix
from keras_vit.weights.rules import best_match
from tests.golden.compare import write_weights
from tests.golden.seeded import seeded_image

SHAPE = (40, 48, 3)  # 5 x 6 patches
GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "dinov2_toys.npz")
KEYS = json.loads(str(GOLDEN["keys"]))
NATIVE, MOVED = (70, 70), (98, 56)
CLASSES = 5
MECHANISMS = {  # of a toy, by its name in the file
    "plain": {},
    "gated": {"mlp": "swiglu"},
    "registers": {"registers": 3},
    "registers_gated": {"registers": 3, "mlp": "swiglu"},
}
QUICK = ("official/plain", "official/registers_gated", "transformers/gated", "transformers/registers", "timm/gated")


def toy(patch_size=14, **mechanisms):
    family = dinov2.DINOV2_REGISTERS if mechanisms.get("registers") else dinov2.DINOV2
    return Variant("Toy", family, dinov2.Config(24, 2, 3, patch_size, **mechanisms))


def build(variant, **arguments):
    """A toy with every weight off its initial value."""
    given = {"weights": None, "input_shape": SHAPE, "classes": CLASSES, "classifier_activation": None}
    model = variant(**{**given, **arguments})
    for i, variable in enumerate(model.trainable_variables):
        noise = np.random.default_rng(i).standard_normal(variable.shape)
        variable.assign(ops.convert_to_numpy(variable) + 0.3 * noise)
    return model


def images(count=2):
    return np.random.default_rng(1).standard_normal((count, *SHAPE)).astype("float32")


def arrays(model):
    return {v.path: ops.convert_to_numpy(v) for v in model.weights}


def of_library(name, size, folder, **arguments):
    """A toy with the weights of a file as the library writes it, and its logits on the recorded image."""
    write_weights({"keys": KEYS[name]}, folder / "model.safetensors")
    given = {"classes": CLASSES, "classifier_activation": None, "weights": folder / "model.safetensors"}
    model = toy(**MECHANISMS[name.partition("/")[2]])(**{**given, "input_shape": (*size, 3), **arguments})
    return model, ops.convert_to_numpy(model(seeded_image(0, *size), training=False))[0]


def cases():
    """Every toy of every library at both sizes; a few of them quick."""
    for name in KEYS:
        for size, suffix, tolerance in ((NATIVE, "", 1e-5), (MOVED, "/moved", 5e-5)):
            slow = [] if name in QUICK else [pytest.mark.slow]
            yield pytest.param(name, size, suffix, tolerance, marks=slow, id=name + suffix)


@pytest.mark.parametrize("name, size, suffix, tolerance", list(cases()))
def test_logits_are_those_of_the_library_that_wrote_the_file(name, size, suffix, tolerance, tmp_path):
    _, logits = of_library(name, size, tmp_path)
    reference = GOLDEN[name + suffix]
    np.testing.assert_allclose(logits, reference, atol=tolerance * reference.std(), rtol=0)


def test_the_three_ways_to_resample_differ_without_registers_and_agree_with_them():
    table = np.random.default_rng(0).standard_normal((1, 1 + 25, 3))
    moved = {}
    for family in (dinov2.DINOV2, dinov2.DINOV2_REGISTERS):
        tables = [layout.resamplers["positions/table"] for layout in family.layouts]
        own = family.resamplers["positions/table"]
        moved[family.paper] = [move(table, (1, 1 + 12, 3), (42, 56)) for move in (own, *tables)]
    own, timm, official, official_head, transformers, gated = moved["2304.07193"]
    np.testing.assert_array_equal(own, official)
    np.testing.assert_array_equal(own, official_head)
    np.testing.assert_array_equal(transformers, gated)
    for one, other in ((own, timm), (own, transformers), (timm, transformers)):
        assert np.abs(one - other).max() > 0.05
    for other in moved["2309.16588"][1:]:
        np.testing.assert_array_equal(moved["2309.16588"][0], other)


def test_files_of_this_library_are_resampled_as_the_official_code_does(tmp_path):
    model = build(toy(8), input_shape=(40, 40, 3))
    save_file(arrays(model), tmp_path / "w.safetensors")
    moved = arrays(toy(8)(weights=tmp_path / "w.safetensors", input_shape=(48, 24, 3), classes=CLASSES))
    rows, columns = (interpolation_matrix(5, new, antialias=False, offset=0.1) for new in (6, 3))
    old = arrays(model)["positions/table"]
    expected = np.einsum("ih,hwc,jw->ijc", rows, old[0, 1:].reshape(5, 5, 24), columns)
    np.testing.assert_allclose(moved["positions/table"][0, 1:].reshape(6, 3, 24), expected, atol=1e-5)
    np.testing.assert_array_equal(moved["positions/table"][:, :1], old[:, :1])


# Tokens --------------------------------------------------------------------------------------------------------------


def test_registers_stand_behind_the_class_token_and_have_no_position():
    model = build(toy(8, registers=3))
    w = arrays(model)
    assert w["positions/table"].shape == (1, 30, 24)
    tokens = ops.convert_to_numpy(keras.Model(model.input, model.get_layer("class_token").output)(images()))
    assert tokens.shape == (2, 1 + 3 + 30, 24)
    np.testing.assert_allclose(tokens[1, 0], w["class_token/token"][0, 0], atol=1e-6)
    np.testing.assert_allclose(tokens[1, 1:4], w["registers/tokens"][0], atol=1e-6)
    patches = keras.Model(model.input, model.get_layer("patch_embed").output)(images())
    np.testing.assert_allclose(tokens[:, 4:], ops.reshape(patches, (2, 30, 24)) + w["positions/table"], atol=1e-5)


def test_the_class_token_has_a_position_without_registers():
    model = build(toy(8))
    w = arrays(model)
    assert w["positions/table"].shape == (1, 31, 24)
    tokens = keras.Model(model.input, model.get_layer("positions").output)(images())
    np.testing.assert_allclose(tokens[1, 0], (w["class_token/token"] + w["positions/table"])[0, 0], atol=1e-6)


@pytest.mark.parametrize("registers", [0, 3])
def test_features_leave_out_class_token_and_registers(registers):
    model = build(toy(8, registers=registers))
    tokens = keras.Model(model.input, model.get_layer("norm").output)(images())
    patches = ops.reshape(tokens[:, 1 + registers :], (2, 5, 6, 24))
    for pooling, expected in (
        (None, patches),
        ("avg", ops.mean(patches, axis=(1, 2))),
        ("max", ops.max(patches, axis=(1, 2))),
        ("token", tokens[:, 0]),
    ):
        features = toy(8, registers=registers)(include_top=False, weights=None, input_shape=SHAPE, pooling=pooling)
        features.set_weights(model.get_weights()[: len(features.weights)])
        np.testing.assert_allclose(features(images()), expected, atol=1e-5)


def test_the_classifier_reads_the_class_token_beside_the_mean_patch_where_the_config_says_so():
    model = build(toy(8, registers=3, pool="token_and_mean"))
    w = arrays(model)
    tokens = ops.convert_to_numpy(keras.Model(model.input, model.get_layer("norm").output)(images()))
    read = np.concatenate([tokens[:, 0], tokens[:, 4:].mean(axis=1)], axis=-1)
    assert w["head/kernel"].shape == (48, CLASSES)
    np.testing.assert_allclose(model(images()), read @ w["head/kernel"] + w["head/bias"], atol=1e-5)


# Architecture --------------------------------------------------------------------------------------------------------


def test_config_reaches_the_layers():
    model = build(toy(8, mlp="gelu_tanh", epsilon=1e-3, qkv_bias=False, mlp_ratio=2.5), drop_path_rate=0.2)
    block = model.get_layer("block0")
    assert (block.norm1.epsilon, block.norm2.epsilon, model.get_layer("norm").epsilon) == (1e-3,) * 3
    assert (block.attn.qkv_bias, block.mlp.activation, block.mlp.hidden_dim) == (False, "gelu_tanh", 60)
    assert [model.get_layer(f"block{i}").drop_path_rate for i in range(2)] == [0.2, 0.2]  # `drop_path_uniform`
    assert [norm.epsilon for norm in (build(toy(8)).get_layer("block1").norm1,)] == [1e-6]


@pytest.mark.parametrize("width, ratio, expected", [(1536, 4.0, 4096), (24, 4.0, 64), (24, 3.0, 48), (20, 4.0, 56)])
def test_the_width_of_a_gated_mlp_is_rounded_as_published(width, ratio, expected):
    assert dinov2.gated_width(width, ratio) == expected


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"mlp": "glu"}, "mlp: expected one of"),
        ({"pool": "mean"}, "pool: expected one of"),
        ({"registers": -1}, "0 or"),
    ],
)
def test_other_values_of_the_config_are_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        dinov2.Config(24, 2, 3, **wrong)


def test_sides_must_be_multiples_of_the_patch():
    with pytest.raises(ValueError, match="DINOv2 needs a height and width that are multiples of 14"):
        dinov2.DINOv2S(weights=None, input_shape=(224, 225, 3))


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["official", "transformers"])
def test_the_position_of_the_class_token_is_added_to_it(library, tmp_path):
    name = f"{library}/registers_gated"
    model, _ = of_library(name, NATIVE, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    token = next(array for key, array in stored.items() if key.endswith("cls_token"))
    table = next(array for key, array in stored.items() if key.endswith(("pos_embed", "position_embeddings")))
    np.testing.assert_array_equal(arrays(model)["class_token/token"], token + table[:, :1])
    np.testing.assert_array_equal(arrays(model)["positions/table"], table[:, 1:])


@pytest.mark.parametrize("name", list(KEYS))
def test_a_file_names_its_layout(name):
    library, _, mechanism = name.partition("/")
    family = toy(**MECHANISMS[mechanism]).family
    with keras.StatelessScope(initialize_variables=False):
        model = toy(**MECHANISMS[mechanism])(weights=None, input_shape=(*NATIVE, 3))
    found = best_match(family.layouts, KEYS[name], [variable.path for variable in model.weights])
    assert found.layout.library == library and not found.unexpected


def test_a_new_head_reads_what_the_config_says(tmp_path):
    model, _ = of_library("transformers/gated", NATIVE, tmp_path, classes=7)
    assert arrays(model)["head/kernel"].shape == (24, 7)


def test_a_model_without_registers_refuses_a_file_that_has_them(tmp_path):
    write_weights({"keys": KEYS["timm/registers"]}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="unexpected: reg_token"):
        toy()(weights=tmp_path / "w.safetensors", input_shape=(*NATIVE, 3), classes=CLASSES)
