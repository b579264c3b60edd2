"""A run of several labels and known images, to the end: every artifact gives the labels that the Keras model gives."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_vit.cli.main import main as command
from keras_vit.export.edge import tflite
from keras_vit.export.interchange import onnx_openvino
from keras_vit.export.model.source import open_source
from keras_vit.export.parity import parity
from keras_vit.export.serving import bundle
from keras_vit.prediction.predictor import Predictor
from tests.export import chromium
from tests.export.running import start_ours
from tests.export.toys import toy_model, write_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(several_run):
    return open_source(several_run)


@pytest.fixture(scope="module")
def expected(source):
    return parity.expect(source)


@pytest.fixture(scope="module")
def served(source, expected, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    return folder, bundle.export(source, folder, expected)[1]


@pytest.fixture(scope="module")
def edge(source, expected, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edge")
    return folder, tflite.convert(source, folder, ["none", "float16", "dynamic_int8", "int8"], expected, runs=1)


def labels_of(predictor, run):
    """(labels that each image has, bool (N, K); which are unknown) of the run's test images."""
    images = [predictor.prepare(path) for path, _ in open_source(run).images]
    scores, known = predictor.predict_known(images)
    return scores >= predictor.thresholds, predictor.is_unknown(known)


def test_the_model_is_right_of_its_images(several_run, expected):
    labels, unknown = labels_of(Predictor.open(several_run), several_run)
    np.testing.assert_array_equal(labels, expected.classes)
    assert unknown.sum() == 2 and 0 in labels.sum(1) and labels.sum(1).max() > 2


def test_a_served_model_has_every_label(several_run, served):
    folder, report = served
    keras, saved = Predictor.open(several_run), Predictor.open(folder)
    assert (saved.multi_label, saved.unknown) == (True, keras.unknown) and report["agreement"] == 1
    np.testing.assert_array_equal(saved.thresholds, keras.thresholds)
    for ours, theirs in zip(labels_of(keras, several_run), labels_of(saved, several_run)):
        np.testing.assert_array_equal(ours, theirs)


def test_so_has_one_that_decodes_images_itself(several_run, served, tmp_path):
    folder = shutil.copytree(served[0] / "models/several/1", tmp_path / "1")
    (folder / "assets/preprocessing.json").unlink()
    found = labels_of(Predictor.open(several_run), several_run)
    for ours, theirs in zip(found, labels_of(Predictor.open(folder), several_run)):
        np.testing.assert_array_equal(ours, theirs)


def test_every_edge_file_has_every_label(several_run, edge):
    folder, report = edge
    found = labels_of(Predictor.open(several_run), several_run)
    for file in report["files"]:
        assert file["agreement"] == 1 and file["output"] == "float32" and file["within_limits"]
        for ours, theirs in zip(found, labels_of(Predictor.open(folder / file["file"]), several_run)):
            np.testing.assert_array_equal(ours, theirs)
    assert report["files"][0]["largest_difference_of_known_scores"] < 1e-5


@pytest.mark.parametrize("options", [[], ["--accelerator", "cpu"]], ids=["interpreter", "compiled model"])
def test_the_folders_example_prints_them(several_run, edge, options, capsys):
    paths = [str(path) for path, _ in open_source(several_run).images]
    assert command(["predict", str(several_run), *paths]) == 0
    script = [sys.executable, "-P", str(edge[0] / "example.py"), *options, *paths]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    ours, theirs = (
        [line.split("#")[0].split(",")[0].rstrip() for line in text.splitlines() if "%" not in line or "# " not in line]
        for text in (capsys.readouterr().out, printed)
    )
    assert [line.replace(":", " ").split()[:1] for line in ours] == [
        line.replace(":", " ").split()[:1] for line in theirs
    ]
    assert "  none" in theirs and sum("unknown" in line for line in theirs) == 2


def test_an_onnx_file_has_both_outputs(source, expected, tmp_path):
    report = onnx_openvino.convert(source, tmp_path, "onnx", expected)
    assert report["agreement"] == 1 and report["largest_difference_of_known_scores"] < 1e-5
    assert json.loads((tmp_path / "answers.json").read_text()) == source.answers.entries()


def test_compare_lists_all(several_run, served, edge, capsys):
    assert command(["compare", str(several_run), str(served[0]), str(edge[0])]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert sum(row.count("100.00 %") == 2 for row in rows) == 6  # accuracy and agreement


@pytest.fixture(scope="module")
def running(served, tmp_path_factory):
    with open(tmp_path_factory.mktemp("running") / "log", "w") as log:
        running = start_ours(served[0], log, "several")
        yield running
        running.process.terminate()
        running.process.wait(30)


def test_the_server_answers_the_client(served, running):
    call = [sys.executable, str(served[0] / "client.py"), "--url", running.url]
    checked = subprocess.run([*call, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert "5 images, 0 wrong" in checked.stdout
    examples = sorted(map(str, served[0].glob("examples/several/1/*")))
    printed = subprocess.run([*call, *examples], capture_output=True, text=True)
    assert printed.returncode == 1  # of the file that is no image
    assert printed.stdout.count("cannot be read") == 1 and "  unknown: score" in printed.stdout


@pytest.mark.skipif(chromium.PATH is None, reason=chromium.MISSING)
def test_the_page_lists_every_label(served, running):
    """In the order of the stored examples: labels or none, known or unknown, with a map of each label."""
    from playwright.sync_api import expect

    stored = json.loads((served[0] / "expected/several/1.json").read_text(encoding="utf-8"))["answers"]
    problems = []
    with chromium.launch() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(running.url)
        expect(page.locator("#model")).to_be_enabled()
        for name, answer in stored.items():
            if not answer["decoded"]:
                continue
            page.set_input_files("#file", served[0] / "examples/several/1" / name)
            expect(page.locator("#status")).to_contain_text("by version 1 of several", timeout=30_000)
            names = [name for name in answer["classes"] if name]
            assert page.locator("#scores .label").all_inner_texts() == names
            said = page.inner_text("#status")
            assert said.startswith("Unknown: ") == answer["unknown"]
            assert ("None of the labels, by" in said) == (not names) and page.is_visible("#look") == bool(names)
            if len(names) > 1:
                assert f"{len(names)} labels, by" in said
                page.click("#scores li:nth-child(2) button")
                page.wait_for_selector("#map:not([hidden])")
                assert f"“{names[1]}”" in page.inner_text("#meaning")
    assert problems == []


def test_a_stored_label_that_is_missing_is_found(source, expected, served):
    """The check of a version rejects outputs that lack a label of an image."""
    [outputs] = parity.replay_all([("saved_model", served[0] / "models/several/1")], expected)
    parity.check_saved_model(outputs, expected, source)
    row = (outputs["class_ids"] >= 0).sum(1).argmax()
    changed = {name: outputs[name].copy() for name in ("class_ids", "scores", "classes")}
    place = (outputs["class_ids"][row] >= 0).sum() - 1
    changed["class_ids"][row, place], changed["scores"][row, place], changed["classes"][row, place] = -1, 0, ""
    with pytest.raises(ValueError, match="differ from the Keras model's"):
        parity.check_saved_model({**outputs, **changed}, expected, source)
    with pytest.raises(ValueError, match="other images unknown"):
        parity.check_saved_model({**outputs, "unknown": ~outputs["unknown"]}, expected, source)


def test_files_of_a_run_with_one_label_replace_the_answers(edge, tmp_path):
    folder = shutil.copytree(edge[0], tmp_path / "edge")
    one = open_source(write_run(tmp_path / "run", toy_model()))
    labels = folder / "report.json"
    labels.write_text(labels.read_text().replace('"several"', '"toys"'))
    tflite.convert(one, folder, ["none"], runs=1)
    assert not (folder / "answers.json").exists()
