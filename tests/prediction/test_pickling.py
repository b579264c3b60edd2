"""What is pickled is the source, or the model in memory; what arrives is made once and answers alike."""

import dataclasses
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_vit.prediction import pickling
from keras_vit.prediction.embedding import Embedder
from keras_vit.prediction.predictor import Predictor, keras_predictor
from keras_vit.prediction.tta import augmented
from tests import toy_artifacts as toy

IMAGES = toy.random_images()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy.write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def nothing_made():
    pickling._MADE.clear()


def in_memory():
    return keras_predictor("keras model", "toy", toy.keras_model(), toy.SPEC, toy.LABELS)


def test_the_source_is_pickled_and_not_the_model(run):
    predictor = Predictor.open(run)
    content = pickle.dumps(predictor)
    assert len(content) < 1000 < (run / "model.keras").stat().st_size
    found = pickle.loads(content)
    assert found is not predictor and found.labels == predictor.labels and found.weights == predictor.weights
    np.testing.assert_array_equal(found.predict(IMAGES), predictor.predict(IMAGES))


def test_options_are_pickled_as_what_their_files_said(run, tmp_path):
    (tmp_path / "names.txt").write_text("rot\ngrün\nblau\n", encoding="utf-8")
    dataclasses.replace(toy.SPEC, crop_pct=0.6).save(tmp_path / "spec.json")
    predictor = Predictor.open(run / "model.keras", tmp_path / "spec.json", tmp_path / "names.txt", crop_pct=0.7)
    content = pickle.dumps(predictor)
    for file in tmp_path.iterdir():
        file.unlink()
    found = pickle.loads(content)
    assert found.labels == ("rot", "grün", "blau") and found.spec == dataclasses.replace(toy.SPEC, crop_pct=0.7)
    np.testing.assert_array_equal(found.predict(IMAGES), predictor.predict(IMAGES))


def test_the_size_asked_for_is_pickled(run):
    found = pickle.loads(pickle.dumps(Predictor.open(run, img_size=(6, 8))))
    assert found.spec.size == (6, 8) and found.origin.options["img_size"] == (6, 8)


def test_a_relative_path_is_found_from_elsewhere(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run.parent)
    content = pickle.dumps(Predictor.open(run.name))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(content).name == "colours"


def test_pickling_loads_nothing_and_unpickling_loads_once(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    predictor = Predictor.open(copy)
    content = pickle.dumps(predictor)
    first = pickle.loads(content)
    shutil.rmtree(copy)
    assert pickle.dumps(predictor) == content == pickle.dumps(first)
    assert pickle.loads(content) is first


def test_what_was_opened_at_another_time_is_another(run):
    first, second = (pickle.loads(pickle.dumps(Predictor.open(run))) for _ in range(2))
    assert first is not second


def test_a_process_keeps_the_last_ones_alone():
    numbers = iter(range(100))
    made = [pickling.made(key, lambda: next(numbers), ()) for key in "abcad"]
    assert made == [0, 1, 2, 0, 3]
    assert [pickling.made(key, lambda: next(numbers), ()) for key in "acb"] == [0, 2, 4]  # b was used least recently


def test_a_source_that_is_not_there_is_named_with_the_remedy(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    content = pickle.dumps(Predictor.open(copy))
    shutil.rmtree(copy)
    with pytest.raises(ValueError, match=r"copy cannot be opened on .* does not exist.* on a shared disk"):
        pickle.loads(content)


def test_a_model_in_memory_is_pickled_as_it_is_then():
    predictor = in_memory()
    before = pickle.dumps(predictor)
    kernel = predictor.model.weights[0]
    kernel.assign(2 * kernel)
    after = pickle.dumps(predictor)
    np.testing.assert_allclose(pickle.loads(before).predict(IMAGES), toy.expected(IMAGES), atol=1e-5)
    found = pickle.loads(after)
    np.testing.assert_array_equal(found.predict(IMAGES), predictor.predict(IMAGES))
    assert (found.kind, found.name, found.labels, found.spec) == ("keras model", "toy", toy.LABELS, toy.SPEC)
    assert found.input_values == predictor.input_values and pickle.loads(after) is found


@pytest.mark.parametrize("changed", [lambda p: dataclasses.replace(p, run=len), lambda p: p.taking("unit")])
def test_what_was_changed_after_it_was_opened_is_refused(run, changed):
    with pytest.raises(ValueError, match="colours cannot be pickled.* changed after it was opened"):
        pickle.dumps(changed(Predictor.open(run)))


def test_averages_over_views_are_pickled_with_their_views(run):
    predictor = augmented(Predictor.open(run), "hflip")
    found = pickle.loads(pickle.dumps(predictor))
    assert found.views == "hflip"
    np.testing.assert_array_equal(found.predict(IMAGES), predictor.predict(IMAGES))


def test_an_embedder_is_pickled_as_its_source_or_its_model(run):
    opened = Embedder.open(run, crop_pct=0.7)
    made = Embedder("toy", opened.spec, opened.model, opened.input_values)
    small, large = pickle.dumps(opened), pickle.dumps(made)
    assert len(small) < 1000 < len(large)
    for content in (small, large):
        found = pickle.loads(content)
        assert found.spec == opened.spec and pickle.loads(content) is found
        np.testing.assert_array_equal(found.embed(IMAGES), opened.embed(IMAGES))


@pytest.mark.slow
def test_another_process_answers_alike(run):
    for predictor in (Predictor.open(run), in_memory()):
        program = (
            "import pickle, sys; sys.stdout.buffer.write("
            "pickle.load(sys.stdin.buffer).predict(pickle.load(sys.stdin.buffer)).tobytes())"
        )
        given = pickle.dumps(predictor) + pickle.dumps(IMAGES)
        done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, check=True)
        found = np.frombuffer(done.stdout, "float32").reshape(-1, 3)
        np.testing.assert_allclose(found, predictor.predict(IMAGES), atol=1e-6)
