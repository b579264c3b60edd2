"""What training scripts put around weights is taken off alike in every container; the wrong of two is never read."""

import itertools
import logging
import re

import keras
import numpy as np
import pytest

from keras_vit.models import vit
from keras_vit.sources import loading
from keras_vit.weights import rules, wrappers
from keras_vit.weights.entries import Entries, Entry
from tests.models.toys import TOYS
from tests.weights import checkpoints
from tests.weights.checkpoints import CONTAINERS, TYPES, prefixed

CLASSES = 5
WRAPPED, AMBIGUOUS = checkpoints.wrapped(), checkpoints.ambiguous()


@pytest.fixture(scope="module")
def model():
    variant, shape = TOYS["vit"]
    return variant(weights=None, input_shape=shape, classes=CLASSES)


def random_entries(model, seed):
    """Random weights of a model under timm's names."""
    rng, entries = np.random.default_rng(seed), {}
    names = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    for variable in model.weights:
        array = rng.standard_normal(variable.shape).astype("float32")
        *path, last = variable.path.split("/")
        if last == "kernel":
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        name = ".".join([*path, names.get(last, last)]).replace("block0", "blocks.0").replace("block1", "blocks.1")
        name = name.replace("patch_embed.", "patch_embed.proj.").replace("class_token.token", "cls_token")
        entries[name.replace("positions.table", "pos_embed")] = np.ascontiguousarray(array)
    return entries


@pytest.fixture(scope="module")
def right(model):
    return random_entries(model, 0)


@pytest.fixture(scope="module")
def wrong(model):
    return random_entries(model, 1)


def load(model, path):
    """Read a file into the model; its variables under the names of timm."""
    for variable in model.weights:
        variable.assign(np.full(variable.shape, 77, "float32"))
    loading.load(model, loading.open_source(str(path), None, CLASSES, True), vit.VIT, True, CLASSES)
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


def expected(model, entries, kind):
    """The model's numbers, given as entries in a number format."""
    plain = {name: Entry(array.shape, lambda array=array: array) for name, array in entries.items()}
    found = rules.match(vit.TIMM, plain)
    return [
        checkpoints.rounded(found.assignments[v.path].rule.transform(entries[found.assignments[v.path].names[0]]), kind)
        for v in model.weights
    ]


def crossed(kinds, rounds):
    """`rounds` files of every kind; the containers and number formats go round, so that all pairs of both occur."""
    pairs = itertools.cycle(itertools.product(CONTAINERS, TYPES))
    return [(kind, *next(pairs)) for _ in range(rounds) for kind in kinds]


FILES = crossed(WRAPPED, 4)


def test_there_are_more_than_a_hundred_files_and_every_container_has_every_type():
    assert len(FILES) >= 100 and {file[1:] for file in FILES} == set(itertools.product(CONTAINERS, TYPES))


@pytest.mark.parametrize("kind", WRAPPED)
def test_every_wrapper_is_taken_off_in_every_container(tmp_path, model, right, wrong, kind):
    for _, suffix, number in [file for file in FILES if file[0] == kind]:
        path = tmp_path / f"w{suffix}"
        CONTAINERS[suffix](path, WRAPPED[kind](right, wrong), number)
        for variable, array, wanted in zip(model.weights, load(model, path), expected(model, right, number)):
            np.testing.assert_array_equal(array, wanted, f"{suffix} {number} {variable.path}")


@pytest.mark.slow
@pytest.mark.parametrize("number", TYPES)
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_all_wrappers_in_all_containers(tmp_path, model, right, wrong, suffix, number):
    for kind in WRAPPED:
        path = tmp_path / f"w{suffix}"
        CONTAINERS[suffix](path, WRAPPED[kind](right, wrong), number)
        for array, wanted in zip(load(model, path), expected(model, right, number)):
            np.testing.assert_array_equal(array, wanted, kind)


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_none_of_two_is_guessed(tmp_path, model, right, wrong, kind):
    for suffix, write in CONTAINERS.items():
        write(tmp_path / f"w{suffix}", AMBIGUOUS[kind](right, wrong), "float32")
        with pytest.raises(ValueError, match=f"w{suffix} holds several sets of weights that fit") as error:
            load(model, tmp_path / f"w{suffix}")
        for name in set(re.findall(r"\w+", kind)) - {"and", "state_dict"}:
            assert re.search(rf"'(\w+\.)?{name}'", str(error.value))


def test_of_two_sets_the_one_that_fits_is_taken(tmp_path, model, right):
    other = {name: np.zeros((3, *array.shape), "float32") for name, array in right.items()}
    for suffix, write in CONTAINERS.items():
        for tree in ({"teacher": other, "student": right}, {"model_ema": other, "model": right}):
            write(tmp_path / f"w{suffix}", tree, "float32")
            for array, wanted in zip(load(model, tmp_path / f"w{suffix}"), expected(model, right, "float32")):
                np.testing.assert_array_equal(array, wanted)


def test_a_moving_average_and_what_is_beside_it_are_logged(tmp_path, model, right, wrong, caplog):
    checkpoints.write_torch(tmp_path / "w.pth", {"model": wrong, "model_ema": prefixed("module.", right)}, "float32")
    load(model, tmp_path / "w.pth")
    (record,) = caplog.records
    assert record.name == "keras_vit" and record.levelno == logging.WARNING
    assert "the moving average of the weights is loaded ('model_ema.module.' taken off)" in record.message
    assert "not the weights beside it ('model')" in record.message


def test_a_moving_average_that_does_not_fit_is_never_left_out_in_silence(tmp_path, model, right, wrong, caplog):
    part = dict(list(right.items())[:-4])
    checkpoints.write_torch(tmp_path / "w.pth", {"model": wrong, "ema": part}, "float32")
    load(model, tmp_path / "w.pth")
    assert caplog.messages == [f"{tmp_path / 'w.pth'}: a moving average in it (ema) does not fit; it is left out"]
    checkpoints.write_torch(tmp_path / "w.pth", {"model": wrong, "ema": right | {"odd": np.zeros(3)}}, "float32")
    with pytest.raises(ValueError, match=r"\+ unexpected: ema.odd"):
        load(model, tmp_path / "w.pth")


def test_prefixes_are_logged(tmp_path, model, right, caplog):
    caplog.set_level(logging.INFO, "keras_vit")
    checkpoints.write_safetensors(tmp_path / "w.safetensors", prefixed("module.net.", right), "float32")
    load(model, tmp_path / "w.safetensors")
    assert caplog.messages == [f"{tmp_path / 'w.safetensors'}: read with 'module.net.' taken off"]


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_errors_have_both_sides_the_unexpected_first_and_what_came_closest(tmp_path, model, right, suffix):
    spoiled = dict(right)
    spoiled["blocks.0.norm3.weight"] = spoiled.pop("blocks.0.norm1.weight")
    CONTAINERS[suffix](tmp_path / f"w{suffix}", {"state_dict": prefixed("module.", spoiled)}, "float32")
    with pytest.raises(ValueError) as error:
        load(model, tmp_path / f"w{suffix}")
    first, *lines = str(error.value).splitlines()
    assert "Closest is the timm layout, with 'state_dict.module.' taken off" in first
    assert lines == ["+ unexpected: state_dict.module.blocks.0.norm3.weight", "- missing: block0/norm1/gamma"]


def test_what_no_model_needs_is_unexpected_in_a_flat_file(tmp_path, model, right):
    for tree in (right | {"criterion.weight": np.zeros(3)}, prefixed("model.", right) | {"criterion.w": np.zeros(3)}):
        checkpoints.write_npz(tmp_path / "w.npz", tree, "float32")
        with pytest.raises(ValueError, match=r"\+ unexpected: criterion.w"):
            load(model, tmp_path / "w.npz")


def test_names_that_collide_under_a_prefix_are_not_taken_for_one(tmp_path, model, right, wrong):
    tree = prefixed("model.", right) | {"norm.weight": wrong["norm.weight"]}
    checkpoints.write_safetensors(tmp_path / "w.safetensors", tree, "float32")
    with pytest.raises(ValueError, match=r"\+ unexpected: norm.weight"):
        load(model, tmp_path / "w.safetensors")


def entries_of(names):
    return Entries("w", {name: Entry((2,), lambda: np.zeros(2)) for name in names})


def test_a_prefix_is_put_on_the_files_of_a_bare_model():
    parts = ["embeddings.a", "encoder.b", "encoder.c", "encoder.d", "encoder.e", "layernorm.f"]
    layout = rules.Layout("transformers", tuple(rules.Rule((f"vit.{name}",), f"my_{name}") for name in parts))
    layout = rules.Layout("transformers", (*layout.rules, *rules.param("classifier", "head")))
    shapes = dict.fromkeys([*(f"my_{name}" for name in parts), "head"], (2,))
    for before, more in itertools.product(("", "vit.", "module.", "model.vit."), ((), ("classifier",))):
        names = [before + name for name in parts] + [before.removesuffix("vit.") + name for name in more]
        found = wrappers.choose(entries_of(names), [layout], shapes, ("head",))
        assert set(found.match.assignments) == set(shapes) - (set() if more else {"head"}), names
        assert not found.match.unexpected
        assert set(wrappers.likeliest(entries_of(names), [layout])) == {f"vit.{name}" for name in parts} | set(more)


def test_counters_are_no_weights():
    entries = Entries("w", {"module.x": Entry((2,), None), "n_averaged": Entry((), None), "x.scale": Entry((), None)})
    found = wrappers.choose(entries, [], {"x": (2,)})
    assert found.match.unexpected == ("x.scale",) and found.left_out == ("n_averaged",)
