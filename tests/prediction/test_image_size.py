"""Models at another size than they were made for: every Keras source, with the preprocessing that follows."""

import keras
import numpy as np
import pytest

from keras_vit.models import VARIANTS, vit
from keras_vit.models.family import Variant
from keras_vit.prediction.embedding import Embedder, vectors_of
from keras_vit.prediction.image_size import model_at
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec, normalize
from keras_vit.preprocessing.resizing import resize_array
from keras_vit.sources.run_folder import Run
from keras_vit.weights import catalogue
from tests import toy_artifacts
from tests.models.toys import TOYS

TOY = Variant("Tiny", vit.VIT, vit.Config(12, 1, 2, 8))
SPEC = Spec((16, 24), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), crop_pct=0.8, input_values="normalized")
OTHER = (32, 40)  # H, W: not the toy's, and not square


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of a toy with positions, which depend on the size."""
    folder = tmp_path_factory.mktemp("run")
    model = TOY(weights=None, input_shape=(*SPEC.size, 3), classes=5)
    draw = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + draw.normal(0, 0.2, weight.shape))
    Run.write_description(folder, name="toy", model_name="Tiny", labels="abcde", spec=SPEC)
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(0)
    return [draw.integers(0, 255, (50 + n, 60, 3), np.uint8) for n in range(2)]


def built_for(run, size):
    """The run's weights in a model that is built for a size: its positions are resampled as they are loaded."""
    return TOY(weights=str(run / "model.keras"), input_shape=(*size, 3), classes=5)


def prepared(images, spec):
    return normalize(np.stack([resize_array(image, spec) for image in images]), spec)


@pytest.mark.parametrize("source", [".", "model.keras"])
def test_a_run_and_a_file_predict_as_if_built_for_the_size(run, images, source):
    predictor = Predictor.open(run / source, img_size=OTHER, crop_pct=1.0)
    assert predictor.spec == SPEC.at(OTHER, 1.0)
    expected = built_for(run, OTHER)(prepared(images, predictor.spec))
    np.testing.assert_allclose(predictor.predict(images), expected, atol=1e-6)
    assert np.abs(predictor.predict(images) - Predictor.open(run / source).predict(images)).max() > 1e-3


def test_one_number_is_both_sides(run):
    assert Predictor.open(run, img_size=16).spec.size == (16, 16)


def test_the_crop_alone_leaves_the_model_as_it_is(run, images):
    predictor = Predictor.open(run, crop_pct=0.5)
    assert predictor.spec == SPEC.at(crop_pct=0.5)
    expected = keras.models.load_model(run / "model.keras")(prepared(images, predictor.spec))
    np.testing.assert_allclose(predictor.predict(images), expected, atol=1e-6)


def test_a_published_model_is_built_for_the_size(run, images, monkeypatch):
    row = next(row for row in catalogue.rows("ViTTi16") if row.classes)
    built = []

    def create_published(row, size=None):
        built.append(size)
        return built_for(run, size or SPEC.size)

    monkeypatch.setattr("keras_vit.models.create.create_published", create_published)
    monkeypatch.setattr("keras_vit.weights.download.fetch", lambda row: run / "model.keras")
    predictor = Predictor.open(row.name, SPEC, list("abcde"), None, OTHER)
    assert built == [OTHER] and predictor.spec.size == OTHER
    assert predictor.predict(images).shape == (2, 5)


def test_vectors_are_those_of_a_model_built_for_the_size(run, images):
    embedder = Embedder.open(run, img_size=OTHER)
    assert embedder.spec == SPEC.at(OTHER)
    built = vectors_of(built_for(run, OTHER))
    np.testing.assert_allclose(embedder.embed(images), built(prepared(images, embedder.spec)), atol=1e-5)


def test_what_is_fixed_says_how_to_make_another(tmp_path):
    toy_artifacts.write_saved_model(tmp_path / "colours" / "1")
    (tmp_path / "edge").mkdir()
    toy_artifacts.write_beside(tmp_path / "edge")
    (tmp_path / "edge" / "colours_6x8_fp32.tflite").write_bytes(b"")
    for name, kind in (("colours", "a SavedModel"), ("edge", "a .tflite file")):
        with pytest.raises(ValueError, match=f"{name}.* is {kind}.*--img-size.*keras-vit convert MODEL --img-size"):
            Predictor.open(tmp_path / name, img_size=8)
    with pytest.raises(ValueError, match="SavedModel"):
        Predictor.open(tmp_path / "colours", crop_pct=1.0)
    with pytest.raises(ValueError, match="SavedModel"):
        Embedder.open(tmp_path / "colours", img_size=8)


def test_images_of_several_sizes_are_no_batch(run, images):
    predictor = Predictor.open(run)
    one = predictor.prepare(images[0])
    with pytest.raises(ValueError, match="one size. Received: 16 x 24, 32 x 24 pixels"):
        predictor.predict_prepared([one, np.tile(one, (2, 1, 1))])


@pytest.mark.parametrize("size, word", [(0, "size"), ((16, -8), "size"), (20, "8"), ((8, 8, 8), "size")])
def test_bad_sizes_are_named(run, size, word):
    with pytest.raises(ValueError, match=word):
        Predictor.open(run, img_size=size)


def test_a_model_that_takes_the_size_stays_as_it_is():
    any_size = TOY(weights=None, input_shape=(None, None, 3), classes=2)
    fixed = TOY(weights=None, input_shape=(16, 24, 3), classes=2)
    assert model_at(any_size, OTHER) is any_size and model_at(fixed, (16, 24)) is fixed
    assert model_at(fixed, OTHER).input_shape == (None, *OTHER, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin", "convnext", "coat", "coat_lite", "pvt", "pvt_v2", "tnt", "t2t", "dinov2"])
def test_every_way_of_keeping_positions_is_moved(name, tmp_path):
    variant, (H, W, C) = TOYS[name]
    model = variant(weights=None, input_shape=(H, W, C), classes=5)
    model.save(tmp_path / "toy.keras")
    spec = Spec((H, W), (0.5,) * 3, (0.25,) * 3, input_values="normalized")
    predictor = Predictor.open(tmp_path / "toy.keras", spec, img_size=(2 * H, 2 * W))
    image = np.random.default_rng(0).integers(0, 255, (2 * H, 2 * W, 3), np.uint8)
    built = variant(weights=str(tmp_path / "toy.keras"), input_shape=(2 * H, 2 * W, C), classes=5)
    expected = built(prepared([image], predictor.spec))
    np.testing.assert_allclose(predictor.predict([image]), expected, atol=1e-6)


def keeping_sizes(model):
    """The model as earlier versions saved it: its patches are flattened to a number that the layer keeps."""
    config = model.get_config()
    for layer in config["layers"]:
        if layer["name"] == "flatten_patches":
            layer["config"]["target_shape"] = list(model.get_layer("flatten_patches").output.shape[1:])
    made = keras.Model.from_config(config)
    made.set_weights(model.get_weights())
    return made


@pytest.mark.slow
def test_runs_made_before_are_built_anew_by_their_name(run, images, tmp_path, monkeypatch):
    old = keeping_sizes(keras.models.load_model(run / "model.keras"))
    Run.write_description(tmp_path, name="toy", model_name="Tiny", labels="abcde", spec=SPEC)
    old.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="earlier version.*Build the model anew"):
        Predictor.open(tmp_path, img_size=OTHER)
    monkeypatch.setitem(VARIANTS, "Tiny", TOY)
    expected = Predictor.open(run, img_size=OTHER).predict(images)
    np.testing.assert_allclose(Predictor.open(tmp_path, img_size=OTHER).predict(images), expected, atol=1e-6)
    monkeypatch.setitem(VARIANTS, "Tiny", Variant("Tiny", vit.VIT, vit.Config(12, 1, 3, 8)))  # other heads
    with pytest.raises(ValueError, match="earlier version"):
        Predictor.open(tmp_path, img_size=OTHER)
