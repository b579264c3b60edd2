import json

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.models import adapters
from keras_vit.weights import readers, writing
from tests.models.toys import TOYS

MATRIX, RANK = "block0/attn/qkv/kernel", 2
DESCRIPTION = {"model": "Toy", "weights": "base", "classes": ["a", "b", "c"], "rank": RANK, "alpha": 6.0}


def base(name="vit", **arguments):
    variant, shape = TOYS[name]
    keras.utils.set_random_seed(0)
    return variant(weights=None, input_shape=shape, **{"classes": 3} | arguments)


@pytest.fixture(scope="module")
def model():
    return base()


@pytest.fixture
def fresh(model):
    """The model, with its weights put back afterwards."""
    before = model.get_weights()
    yield model
    model.set_weights(before)


def numbers(model):
    return {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.variables}


def written(folder, model, matrix=None, **description):
    """(path of an adapter of one matrix and a new head of a model, A, B)."""
    description = DESCRIPTION | description
    generator, held = np.random.default_rng(3), numbers(model)
    rows, columns = held[MATRIX].shape
    a, b = (generator.normal(size=shape).astype("float32") for shape in ((rows, RANK), (RANK, columns)))
    width, classes = held["head/kernel"].shape[0], len(description["classes"])
    head = {"head/kernel": np.ones((width, classes), "float32"), "head/bias": np.full(classes, 2, "float32")}
    path = folder / adapters.ADAPTER
    before = held[MATRIX] if matrix is None else matrix
    adapters.write_adapter(path, {MATRIX: (before, a, b)}, head, description)
    return path, a, b


def test_an_adapter_is_added_to_the_matrices_and_brings_its_head(fresh, tmp_path):
    before = numbers(fresh)
    path, a, b = written(tmp_path, fresh)
    assert keras_vit.load_adapter(fresh, path) is fresh
    after = numbers(fresh)
    np.testing.assert_allclose(after[MATRIX], before[MATRIX] + 3 * a @ b, rtol=1e-5, atol=1e-6)
    assert (after["head/kernel"] == 1).all() and (after["head/bias"] == 2).all()
    assert all((after[name] == before[name]).all() for name in set(before) - {MATRIX, "head/kernel", "head/bias"})


def test_an_adapter_is_the_same_file_every_time_and_says_what_it_belongs_to(model, tmp_path):
    path, *_ = written(tmp_path, model)
    first = path.read_bytes()
    assert written(tmp_path, model)[0].read_bytes() == first
    said = json.loads(readers.safetensors_metadata(path)[adapters.KEY])
    assert DESCRIPTION.items() <= said.items() and len(said["base_sha256"]) == 64
    assert set(readers.read(path)) == {"block0/attn/qkv/lora_a", "block0/attn/qkv/lora_b", "head/kernel", "head/bias"}


def test_the_head_of_an_adapter_is_replaced_and_nothing_else(fresh, tmp_path):
    path, *_ = written(tmp_path, fresh)
    before, said = dict(readers.read(path)), readers.safetensors_metadata(path)
    adapters.replace_head(path, fresh)
    after, held = dict(readers.read(path)), numbers(fresh)
    assert set(after) == set(before) and readers.safetensors_metadata(path) == said
    assert all((after[name] == (held if name.startswith("head") else before)[name]).all() for name in after)


def test_a_model_without_a_classifier_stays_without(tmp_path):
    headless = base(include_top=False, pooling="token")
    path, *_ = written(tmp_path, base())
    assert keras_vit.load_adapter(headless, path).output_shape == headless.output_shape


def test_an_adapter_is_loaded_once_only(fresh, tmp_path):
    path, *_ = written(tmp_path, fresh)
    keras_vit.load_adapter(fresh, path)
    with pytest.raises(ValueError, match="trained on Toy with weights='base'.*other weights, or has an adapter"):
        keras_vit.load_adapter(fresh, path)


@pytest.mark.parametrize(
    "spoiled, message",
    [
        (lambda matrix: {"matrix": matrix + 1}, "trained on Toy with weights='base'.*has other weights"),
        (lambda matrix: {"rank": 3}, r"expected block0/attn/qkv/lora_a of the shape \(.*, 3\). Received: \(.*, 2\)"),
        (lambda matrix: {"classes": ["a"] * 4}, "a classifier of 4 classes.*Build it with classes=4, or"),
        (lambda matrix: {"rank": "2"}, "no adapter of this library"),
        (lambda matrix: {"weights": None}, "no adapter of this library"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(fresh, tmp_path, spoiled, message):
    before = numbers(fresh)
    path, *_ = written(tmp_path, fresh, **spoiled(before[MATRIX]))
    with pytest.raises(ValueError, match=message):
        keras_vit.load_adapter(fresh, path)
    assert all((value == before[name]).all() for name, value in numbers(fresh).items())


def test_another_architecture_and_other_files_are_refused(model, tmp_path):
    path, *_ = written(tmp_path, model)
    with pytest.raises(ValueError, match="adapter of Toy. Received: .*, which has no block0/attn/qkv/kernel"):
        keras_vit.load_adapter(base("convnext"), path)
    with pytest.raises(FileNotFoundError, match="Expected an adapter.safetensors, or a run folder with one"):
        keras_vit.load_adapter(model, tmp_path / "none")
    writing.write_safetensors(path, {"x": np.zeros(2)})
    with pytest.raises(ValueError, match="no adapter of this library.*goes to a constructor as weights="):
        keras_vit.load_adapter(model, path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match="damaged"):
        keras_vit.load_adapter(model, path)
