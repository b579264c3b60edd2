"""`include_preprocessing=True` puts the preprocessing of the weights in front: of a run, of a file, of a tag."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_vit.models import VARIANTS
from keras_vit.models.family import Variant
from keras_vit.models.sides import Sides
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec
from keras_vit.sources import loading
from keras_vit.sources.run_folder import Run
from keras_vit.training.step import model as training_model
from keras_vit.weights import catalogue
from tests.models.cases import params
from tests.models.toys import TOYS

MEAN, STD = (0.1, 0.7, 0.45), (0.12, 0.31, 0.5)  # no tag's
LABELS = tuple("abcde")
FAMILIES = ["vit", "swin", "convnext", "pvt_v2", "deit_distilled"]
CONTAINERS = {
    "run": lambda run: run,
    "run_as_text": lambda run: str(run),
    "model_of_the_run": lambda run: run / "model.keras",
    "keras": lambda run: shutil.copy(run / "model.keras", run / "best.keras"),
    "weights_h5": lambda run: _saved(run, "w.weights.h5", lambda model, path: model.save_weights(path)),
    "safetensors": lambda run: _saved(run, "w.safetensors", _save_tensors),
}


def _saved(run, name, save):
    save(Run.open(run).load_model(), run / name)
    return run / name


def _save_tensors(model, path):
    save_file({v.path: np.ascontiguousarray(keras.ops.convert_to_numpy(v)) for v in model.weights}, path)


def write_run(folder, toy):
    """A run with weights that tell images apart."""
    variant, shape = TOYS[toy]
    spec = Spec(shape[:2], MEAN, STD)
    Run.write_description(folder, name="run", model_name=variant.name, labels=LABELS, spec=spec)
    model = variant(weights=None, input_shape=shape, classes=len(LABELS))
    head = [v for v in model.weights if v.path.startswith("head") and v.path.endswith("kernel")]
    for v in head:
        v.assign(0.3 * np.random.default_rng(0).normal(size=v.shape))
    model.save(folder / "model.keras")
    return variant, spec


def some_images(spec):
    """Of three colours, with some noise."""
    colours = np.array([[20, 200, 60], [240, 90, 10], [120, 110, 220]])[:, None, None]
    return (colours + np.random.default_rng(1).integers(-10, 11, (3, *spec.size, 3))).astype("uint8")


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("toy", params({"vit"}, FAMILIES))
def test_the_model_predicts_from_pixels_what_the_run_does(toy, container, tmp_path):
    variant, spec = write_run(tmp_path, toy)
    images, predictor = some_images(spec), Predictor.open(tmp_path)
    expected = predictor.predict_prepared(list(images.astype("float32")))
    assert np.ptp(expected, 0).max() > 0.01  # images differ
    weights = CONTAINERS[container](tmp_path)
    model = variant(weights=weights, input_shape=(*spec.size, 3), classes=5, include_preprocessing=True)
    np.testing.assert_allclose(model(images.astype("float32")), expected, atol=1e-5)


def test_the_image_size_is_that_of_the_run_too(tmp_path):
    variant, spec = write_run(tmp_path, "vit")
    assert variant(weights=tmp_path, classes=5).input_shape == (None, *spec.size, 3)


def test_a_new_head_keeps_the_runs_preprocessing(tmp_path):
    variant, spec = write_run(tmp_path, "vit")
    images = some_images(spec).astype("float32")
    with_it, without = (variant(weights=tmp_path, include_preprocessing=inside, classes=7) for inside in (True, False))
    for ours, theirs in zip(with_it.weights, without.weights, strict=True):
        ours.assign(theirs)  # the new heads are random
    np.testing.assert_allclose(with_it(images), without((images / 255 - np.float32(MEAN)) / np.float32(STD)), atol=1e-5)


def test_a_file_without_preprocessing_beside_it_takes_the_default_of_its_variant(tmp_path):
    variant, spec = write_run(tmp_path, "vit")
    (tmp_path / "alone").mkdir()
    shutil.copy(tmp_path / "model.keras", tmp_path / "alone" / "model.keras")
    model = variant(
        weights=tmp_path / "alone" / "model.keras", input_shape=(*spec.size, 3), classes=5, include_preprocessing=True
    )
    assert normalization_of(model) == pytest.approx(affine_of(variant.spec))


def normalization_of(model):
    layer = model.get_layer("normalization")
    return np.concatenate([layer.scale, layer.offset])


def affine_of(spec):
    return np.concatenate([1 / (255 * np.array(spec.std)), -np.array(spec.mean) / spec.std])


@pytest.fixture
def quick(monkeypatch):
    """Every variant with the layers and weights left out: what stands in front of them is the subject."""
    monkeypatch.setattr(loading, "open_source", lambda *arguments: None)

    def of(name):
        variant = VARIANTS[name]
        family = dataclasses.replace(
            variant.family,
            build=lambda config, image, head, rate: keras.layers.GlobalAveragePooling2D()(image),
            sides=lambda config: Sides(1),
        )
        return Variant(name, family, variant.config)

    return of


@pytest.mark.parametrize("name", VARIANTS)
def test_every_name(name, quick, tmp_path):
    variant = quick(name)
    spec = Spec((64, 96), MEAN, STD)
    spec.save(tmp_path / "preprocessing.json")
    (tmp_path / "run.json").write_text("{}")
    for file in ("model.keras", "w.safetensors", "w.npz", "w.pth", "w.bin", "w.weights.h5"):
        (tmp_path / file).write_bytes(b"")
        for weights in {tmp_path / file, tmp_path if file == "model.keras" else tmp_path / file}:
            for classes in (1000, 3):
                model = variant(weights=weights, classes=classes, include_preprocessing=True)
                assert normalization_of(model) == pytest.approx(affine_of(spec))
                assert model.input_shape == (None, 64, 96, 3)
    for tag in variant.tags:
        row = catalogue.find(name, tag)
        model = variant(weights=tag, classes=row.classes or 3, include_preprocessing=True)
        assert normalization_of(model) == pytest.approx(affine_of(row.spec))
    model = variant(weights=None, include_preprocessing=True)
    assert normalization_of(model) == pytest.approx(affine_of(variant.spec))


def test_training_from_a_file_of_pixels_records_normalised_values(tmp_path):
    """The new run's network is fed by the spec, whatever that file's model takes."""
    variant, spec = write_run(tmp_path, "vit")
    dataclasses.replace(spec, input_values="pixels").save(tmp_path / "preprocessing.json")
    from tests.training import toy

    recipe = toy.recipe(weights=str(tmp_path / "model.keras"), img_size=None)
    assert training_model.spec_of(recipe) == spec
