"""Parts of a list have whole batches, and every image once; what was asked of them tells one work from another."""

import keras
import numpy as np
import pytest

from keras_vit.prediction.shards import part_of, part_path, request_of
from keras_vit.preprocessing import Spec
from tests.prediction.of_numbers import numbers


@pytest.mark.parametrize("count, batch_size, shards", [(30, 4, 3), (100_000, 32, 16), (3, 4, 5), (0, 4, 2), (64, 4, 4)])
def test_parts_are_of_whole_batches_and_have_every_image_once(count, batch_size, shards):
    parts = [part_of(count, batch_size, (number, shards)) for number in range(1, shards + 1)]
    assert [index for part in parts for index in range(count)[part]] == list(range(count))
    assert all(part.start % batch_size == 0 for part in parts if part.start < part.stop)
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) < 2 * batch_size
    assert part_of(count, batch_size, None) == slice(0, count)


def test_a_part_is_named_by_its_number():
    assert str(part_path("a/found.csv", (3, 16))) == "a/found-00003-of-00016.csv"
    assert str(part_path("a/found.csv", None)) == "a/found.csv"


def request(predictor, names=("a", "b"), **settings):
    return request_of(predictor, len(names), names, 4, settings)


def test_a_request_tells_models_images_and_settings_apart(tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(b"1")
    predictor = numbers(weights)
    first = request(predictor, top=3)
    assert request(numbers(weights), top=3) == first
    assert request(predictor, ("a", "c"), top=3)["images"] != first["images"]
    assert request(predictor, top=5) != first
    weights.write_bytes(b"2")
    assert request(predictor, top=3)["weights"] != first["weights"]


def test_weights_of_a_keras_model_are_those_that_it_has_now():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    embedder = type("", (), {"model": model, "spec": Spec((2, 2), (0.5,) * 3, (0.5,) * 3), "input_values": "unit"})
    first = request(embedder)
    assert request(embedder) == first and first["preprocessing"]["size"] == (2, 2)
    model.layers[0].bias.assign(np.ones(2, "float32"))
    assert request(embedder)["weights"] != first["weights"]


def test_another_graph_of_a_saved_model_is_another_model(tmp_path):
    for name in ("variables/variables.data", "saved_model.pb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    predictor = numbers(tmp_path / "variables/variables.data")
    first = request(predictor)
    (tmp_path / "saved_model.pb").write_bytes(b"2")
    assert request(predictor) != first
