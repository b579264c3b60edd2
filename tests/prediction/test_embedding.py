"""Vectors of images: what a classifier reads, what a backbone gives, from every source that has a Keras model."""

import json
import pathlib

import keras
import numpy as np
import pytest

from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.prediction.embedding import Embedder, embed_files, vectors_of
from keras_vit.prediction.neighbours import unit
from keras_vit.preprocessing import Spec, normalize
from keras_vit.preprocessing.resizing import resize_array
from keras_vit.sources.run_folder import Run
from keras_vit.weights import catalogue
from tests.models.toys import TOYS

SPEC = Spec((32, 32), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), input_values="normalized")


def some_images(count=3):
    draw = np.random.default_rng(0)
    return [draw.integers(0, 255, (20 + n, 30, 3), np.uint8) for n in range(count)]


def prepared(images, spec=SPEC):
    return normalize(np.stack([resize_array(image, spec) for image in images]), spec)


@pytest.fixture(scope="module")
def toy():
    """(variant, its image size, model with a classifier)."""
    variant, shape = Variant("Tiny", vit.VIT, vit.Config(12, 1, 2, 8)), (16, 24, 3)
    return variant, shape, variant(weights=None, input_shape=shape, classes=1000)


def spec_of(shape):
    return Spec(shape[:2], SPEC.mean, SPEC.std, input_values="normalized")


def bare_of(toy, pooling):
    """The same weights without the classifier."""
    variant, shape, model = toy
    bare = variant(include_top=False, weights=None, input_shape=shape, pooling=pooling)
    stored = {weight.path: weight for weight in model.weights}
    for weight in bare.weights:
        weight.assign(stored[weight.path])
    return bare


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    Run.write_description(folder, name="toy", model_name="Toy", labels=map(str, range(1000)), spec=spec_of(toy[1]))
    toy[2].save(folder / "model.keras")
    return folder


def test_a_run_gives_what_its_classifier_reads(toy, run):
    embedder = Embedder.open(run)
    expected = bare_of(toy, "token")(prepared(some_images(), embedder.spec))
    found = embedder.embed(some_images(), batch_size=2)
    assert found.dtype == np.float32 and embedder.dim == found.shape[1] and np.std(found) > 0
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dim)


@pytest.mark.parametrize("pooling", [None, pytest.param("max", marks=pytest.mark.slow)])
def test_a_backbone_gives_its_output_or_the_mean_of_its_map(toy, tmp_path, pooling):
    bare = bare_of(toy, pooling)
    bare.save(tmp_path / "bare.keras")
    spec_of(toy[1]).save(tmp_path / "preprocessing.json")
    outputs = np.asarray(bare(prepared(some_images(), spec_of(toy[1]))))
    expected = outputs if pooling else outputs.mean((1, 2))
    np.testing.assert_allclose(Embedder.open(tmp_path / "bare.keras").embed(some_images()), expected, atol=1e-5)


def test_lengths_are_one_on_request(run):
    embedder = Embedder.open(run)
    found, plain = embedder.embed(some_images(), normalize=True), embedder.embed(some_images())
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(found * np.linalg.norm(plain, axis=-1, keepdims=True), plain, rtol=1e-5)
    assert (unit(np.zeros((1, 3))) == 0).all()


def test_files_that_cannot_be_read_are_answered_with_the_reason(run, tmp_path):
    from PIL import Image

    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"]
    Image.fromarray(some_images()[0]).save(paths[0])
    paths[1].write_bytes(b"no image")
    embedder = Embedder.open(run)
    answers = list(embed_files(embedder, paths, normalize=True))
    assert [answer.path for answer in answers] == paths and answers[1].scores is answers[2].scores is None
    assert "b.png" in answers[1].reason and "c.png" in answers[2].reason
    np.testing.assert_allclose(answers[0].scores, embedder.embed(paths[:1], normalize=True)[0], atol=1e-6)


def test_vectors_that_are_not_finite_name_the_image(toy, tmp_path):
    from PIL import Image

    image = keras.Input((8, 8, 3))
    pooled = keras.layers.Rescaling(float("nan"))(keras.layers.GlobalAveragePooling2D()(image))
    embedder = Embedder("toy", spec_of((8, 8)), keras.Model(image, pooled), "normalized")
    Image.fromarray(some_images()[0]).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a.png is not finite"):
        list(embed_files(embedder, [tmp_path / "a.png"]))


def published(monkeypatch, toy, classes):
    """Let SwinT be the toy, published with so many classes."""
    from keras_vit import models

    variant, shape, model = toy
    row = catalogue.default("SwinT")
    row = type(row)(**{**vars(row), "classes": classes, "size": shape[:2], "mean": SPEC.mean, "std": SPEC.std})
    monkeypatch.setattr("keras_vit.sources.registry.resolve_row", lambda name: row)

    def build(include_top=True, weights=None, input_shape=None, pooling=None, classes=1000):
        return model if include_top else bare_of(toy, pooling)

    monkeypatch.setitem(models.VARIANTS, "SwinT", build)


@pytest.mark.parametrize("classes", [pytest.param(1000, marks=pytest.mark.slow), 0])
def test_published_weights_with_a_classifier_and_without(monkeypatch, toy, classes):
    published(monkeypatch, toy, classes)
    embedder = Embedder.open("SwinT")
    expected = bare_of(toy, "token")(prepared(some_images(), embedder.spec))
    np.testing.assert_allclose(embedder.embed(some_images()), expected, atol=1e-5)


def test_families_without_a_class_token_are_averaged(monkeypatch):
    variant, shape = TOYS["swin"]
    published(monkeypatch, (variant, shape, variant(weights=None, input_shape=shape, classes=1000)), 0)
    from keras_vit import models

    monkeypatch.setitem(models.VARIANTS, "SwinT", lambda weights, **options: variant(weights=None, **options))
    assert (
        Embedder.open("SwinT").model.output_shape[1:]
        == variant(False, None, input_shape=shape, pooling="avg").output_shape[1:]
    )


def test_what_gives_no_vectors_says_what_to_do():
    image = keras.Input((8, 8, 3))
    tokens = keras.layers.Reshape((64, 3))(image)
    with pytest.raises(ValueError, match=r"gives no vectors.*\(None, 64, 3\).*pooling='avg' or 'token'"):
        vectors_of(keras.Model(image, tokens))
    with pytest.raises(ValueError, match="gives no vectors"):
        vectors_of(keras.Model(image, [tokens, tokens]))
    scores = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 1)(image))
    with pytest.raises(ValueError, match="its last layer with weights is not Dense"):
        vectors_of(keras.Model(image, scores), ("a", "b", "c"))


def test_a_model_that_takes_pixels_gets_them(tmp_path):
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)).save(tmp_path / "m.keras")
    (tmp_path / "preprocessing.json").write_text(json.dumps({"size": [8, 8], "mean": [0.5] * 3, "std": [0.5] * 3}))
    found = Embedder.open(tmp_path / "m.keras", input_values="pixels").embed([np.full((8, 8, 3), 200, np.uint8)])
    np.testing.assert_allclose(found, 200)


def test_a_source_without_preprocessing_or_of_another_kind(toy, tmp_path):
    toy[2].save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="does not state how its images are prepared.*--preprocessing"):
        Embedder.open(tmp_path / "m.keras")
    pathlib.Path(tmp_path / "m.tflite").write_bytes(b"")
    with pytest.raises(ValueError, match="m.tflite is a .tflite file.*Expected a run folder"):
        Embedder.open(tmp_path / "m.tflite")
