"""What a card may say: measurements of these weights, and the settings without the folders of a machine."""

import json
import shutil

import numpy as np
import pytest

from keras_vit.export.hub.facts import gather, public
from keras_vit.export.model.source import open_source
from keras_vit.prediction.predictor import Predictor
from tests import toy_artifacts as toy
from tests.export.hub.runs import DETAILS, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


def facts_of(folder, **options):
    return gather(open_source(folder), folder, **options)


def without_images(run, folder):
    return shutil.copytree(run, folder / "copy", ignore=shutil.ignore_patterns("*.png"))


def test_the_test_images_are_measured_where_they_are_there(run):
    found = facts_of(run)
    images = sorted((run / "held_out").glob("*.png"))
    scores = Predictor.open(run).predict(images)
    hits = scores.argmax(-1) == [0, 1, 2, 0]
    assert found.measured.top1 == 100 * hits.mean() and found.measured.images == 4 and found.measured.top5 is None
    confidence = scores.max(-1)
    bins = np.ceil(confidence * 15)
    error = sum(abs((hits[bins == one] - confidence[bins == one]).sum()) for one in set(bins)) / 4
    assert found.measured.calibration_error == pytest.approx(error)
    assert "test split" in found.measured.by and not found.measured.chosen_on and found.warnings == ()


def test_an_accuracy_far_from_the_recorded_one_is_a_warning(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "held_out.csv").write_text("path,label\n" + "".join(f"held_out/{n}.png,{(n + 1) % 3}\n" for n in range(3)))
    entries = json.loads((copy / "run.json").read_text())
    entries["held_out"]["top1"] = 100.0
    (copy / "run.json").write_text(json.dumps(entries))
    assert any("its run had 100.00 %" in warning for warning in facts_of(copy).warnings)


def test_without_images_what_training_measured_on_these_weights_counts(run, tmp_path):
    copy = without_images(run, tmp_path)
    found = facts_of(copy)
    assert (found.measured.top1, found.measured.images, found.measured.calibration_error) == (75.0, 4, None)
    assert "by training" in found.measured.by and "not there any more" in found.missing
    assert found.measured == facts_of(run, measure=False).measured


def test_what_was_measured_on_other_weights_does_not_count(run, tmp_path):
    copy = without_images(run, tmp_path)
    (copy / "results.csv").unlink()
    found = facts_of(copy)
    assert found.measured is None and "no evaluation by `keras-vit validate`" in found.missing


def test_an_evaluation_that_was_made_before(run, tmp_path):
    metrics = {"model": "colours", "n_images": 50, "top1": 90.0, "top5": 100.0, "k": 3}
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics | {"expected_calibration_error": 0.125}))
    for given in (tmp_path, path):
        found = facts_of(run, evaluation=given).measured
        assert (found.top1, found.images, found.top5, found.calibration_error) == (90.0, 50, None, 0.125)
    path.write_text(json.dumps(metrics | {"expected_calibration_error": 0.125, "model": "other"}))
    with pytest.raises(ValueError, match="evaluation of 'other'. Expected that of 'colours'"):
        facts_of(run, evaluation=path)


@pytest.mark.parametrize("text", ["[]", "{", "[" * 1000, '{"top1": "x"}', '{"top1": null}'])
def test_a_file_that_is_no_evaluation_is_named(run, tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match="metrics.json is not of `keras-vit validate"):
        facts_of(run, evaluation=tmp_path)
    with pytest.raises(ValueError, match="nothing.metrics.json is not there|nothing is not there"):
        facts_of(run, evaluation=tmp_path / "nothing")


def test_settings_are_public(run):
    found = facts_of(run, measure=False)
    assert found.settings == {"teacher": "teacher", "epochs": 3, "aa": "rand-m9-mstd0.5", "img_size": [6, 8]}
    assert found.images == {"training": 1200, "validation": 30, "test": 4}
    assert found.run["weights"] == "start.npz" and set(found.run) == set(DETAILS) - {"path"}
    assert found.parameters == 9 and found.labels == toy.LABELS and found.input_values == "normalized"


@pytest.mark.parametrize(
    "value, shown",
    [("/a/b/c.npz", "c.npz"), ("C:\\a\\b", "b"), ("a/b/", "b"), ("hf://a/b", "hf://a/b"), ("x", "x"), (3, 3)],
)
def test_of_a_path_the_last_part_is_shown(value, shown):
    assert public(value) == shown


def test_published_weights_that_training_began_with(tmp_path):
    run = write_run(tmp_path, images=False, details=DETAILS | {"weights": "ms_in1k"})
    assert facts_of(run).base is None  # of no model of the catalogue
    entries = json.loads((run / "run.json").read_text()) | {"model": "SwinT"}
    (run / "run.json").write_text(json.dumps(entries))
    assert facts_of(run).base.name == "SwinT.ms_in1k"


@pytest.mark.slow
def test_a_run_of_several_labels_is_measured_by_its_labels(several_run, tmp_path):
    found = facts_of(several_run)
    assert found.measured.several == {"map": 100, "micro_f1": 100, "macro_f1": 100} and found.measured.top1 is None
    assert set(found.run) >= {"multi_label", "thresholds", "unknown", "temperature"}
    metrics = {"model": "several", "n_images": 12, "map": 50, "micro_f1": 40, "macro_f1": 30}
    metrics["expected_calibration_error"] = 0.5
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    measured = facts_of(several_run, evaluation=tmp_path).measured
    assert measured.several == {"map": 50, "micro_f1": 40, "macro_f1": 30} and measured.calibration_error == 0.5
    (tmp_path / "metrics.json").write_text(json.dumps({**metrics, "model": "toys"}))
    with pytest.raises(ValueError, match="evaluation of 'toys'"):
        facts_of(several_run, evaluation=tmp_path)
