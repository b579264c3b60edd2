"""What the page's calls give for a model of features, from its bundle in this process."""

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_vit.export.devserver import neighbours, page
from keras_vit.export.devserver.rest import RestError
from keras_vit.export.devserver.servables import Servables
from keras_vit.prediction.embeddings_file import Embeddings, save_embeddings


@pytest.fixture(scope="module")
def servable(exported_features, toy_run):
    servables = Servables(exported_features[0], toy_run / "held_out")
    servables.refresh()
    yield servables.find("toys")
    servables.close()


@pytest.fixture
def classifier():
    """A version that gives classes."""
    return type("Servable", (), {"number": 3, "features": (), "stored": None})()


def cosines(vectors):
    """All of them with each other."""
    vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors @ vectors.T


def test_features_and_the_nearest_of_the_stored(servable, toy_features):
    vectors = toy_features.features["embedding"]
    found = neighbours.described(servable, Path(toy_features.files[4]).read_bytes())
    assert (found["version"], found["stored"]) == (1, 12)
    [one] = found["features"]
    assert (one["name"], one["shape"]) == ("embedding", (64,))
    np.testing.assert_allclose(one["first"], vectors[4, :5], atol=1e-4)
    expected = cosines(vectors)[4]
    order = np.argsort(-expected)[:5]
    assert [near["id"] for near in found["neighbours"]] == order.tolist() and order[0] == 4
    np.testing.assert_allclose([near["score"] for near in found["neighbours"]], expected[order], atol=2e-4)
    assert [near["name"] for near in found["neighbours"]] == [toy_features.files[number] for number in order]
    assert all(near["image"] for near in found["neighbours"])
    json.dumps(found)


@pytest.mark.parametrize("content, status", [(b"no image", 400), (b"", 400)])
def test_what_is_no_image_is_refused(servable, content, status):
    with pytest.raises(RestError, match="send JPEG or PNG") as error:
        neighbours.described(servable, content)
    assert error.value.status == status


def test_a_classifier_has_no_features_to_show(classifier):
    with pytest.raises(RestError, match="Version 3 gives classes, not features"):
        neighbours.described(classifier, b"")


def test_stored_images_are_shown_small(servable, toy_features):
    shown = Image.open(io.BytesIO(neighbours.small_image(servable, 7)))
    stored = Image.open(toy_features.files[7]).convert("RGB")
    assert shown.format == "JPEG" and shown.size == stored.size  # of an image that is small itself
    np.testing.assert_allclose(np.asarray(shown, float).mean((0, 1)), np.asarray(stored, float).mean((0, 1)), atol=3)
    for number in (-1, 12):
        with pytest.raises(RestError, match="No image of number") as error:
            neighbours.small_image(servable, number)
        assert error.value.status == 404


def test_only_images_below_the_folder_are_opened(tmp_path, monkeypatch):
    """Whatever the names of an index, which may be another's."""
    inside = tmp_path / "album"
    inside.mkdir()
    for place in (tmp_path / "private.png", inside / "a.png"):
        Image.new("RGB", (400, 200)).save(place)
    os.symlink(tmp_path / "private.png", inside / "link.png")
    names = ("album/a.png", "album/../private.png", "album/link.png", str(tmp_path / "private.png"), "album/gone.png")
    save_embeddings(tmp_path / "index.npz", Embeddings(names, np.eye(5, dtype="float32")))
    monkeypatch.chdir(tmp_path)
    stored = neighbours.StoredVectors(tmp_path / "index.npz", inside)
    assert [stored.file(number) is not None for number in range(5)] == [True, False, False, False, False]
    servable = type("Servable", (), {"stored": stored})()
    assert Image.open(io.BytesIO(neighbours.small_image(servable, 0))).size == (160, 80)
    assert neighbours.StoredVectors(tmp_path / "index.npz").file(0) is None  # without a folder, none


def test_a_file_that_is_no_image_is_not_shown(tmp_path):
    (tmp_path / "a.png").write_bytes(b"secret")
    save_embeddings(tmp_path / "index.npz", Embeddings((str(tmp_path / "a.png"),), np.ones((1, 2), "float32")))
    servable = type("Servable", (), {"stored": neighbours.StoredVectors(tmp_path / "index.npz", tmp_path)})()
    with pytest.raises(RestError, match="cannot be read"):
        neighbours.small_image(servable, 0)


def test_maps_are_of_the_cosine_with_stored_vectors(servable, toy_features):
    """The score is the cosine of both vectors, and a drop that with the region in the image's mean colour."""
    content = Path(toy_features.files[0]).read_bytes()
    found = json.loads(page.occlusion_maps(servable, content, [5, 0], threading.Event()))
    expected = cosines(toy_features.features["embedding"])[0, [5, 0]]
    assert [one["class_id"] for one in found["classes"]] == [5, 0]
    np.testing.assert_allclose([one["score"] for one in found["classes"]], expected, atol=1e-4)
    image = servable.decode(content)
    hidden = image.copy()
    hidden[2:8, 5:11] = image.mean((0, 1))  # the cell in row 1, column 2
    [vector] = servable.submit("predict_images", {"images": hidden[None]}).result()["embedding"]
    vectors = np.concatenate([toy_features.features["embedding"], vector[None]])
    drop = expected[0] - cosines(vectors)[5, -1]
    assert found["classes"][0]["drops"][1][2] == pytest.approx(drop, abs=1e-4)


@pytest.mark.parametrize("numbers", [[], [12], [-1], [0, 99]])
def test_numbers_of_no_stored_vector_are_refused(servable, numbers):
    with pytest.raises(RestError, match="numbers from 0 to 11"):
        page.occlusion_maps(servable, b"", numbers, threading.Event())


def test_without_stored_vectors_there_are_no_maps(servable, monkeypatch):
    monkeypatch.setattr(servable, "stored", None)
    with pytest.raises(RestError, match="no stored vectors.*--index"):
        page.occlusion_maps(servable, b"", [0], threading.Event())
