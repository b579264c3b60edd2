"""Runs and bundles of an earlier version still predict, resume, export and serve.

tests/golden/made_by_8b2a81b.zip holds what commit 8b2a81b made of the embedded digits with the recipe below: run/, the
finished run; interrupted/, the same run killed after two of its three epochs; serving/ and edge/, the run's exports;
and expected.npz, what each of them gave for the first 20 test images.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import keras_vit
from keras_vit.cli.main import main
from keras_vit.models.family import Variant
from keras_vit.models.vit import Config, ViTTi16
from keras_vit.training import trainer
from keras_vit.training.recipe import Recipe
from tests.export import running

MADE = Path(__file__).parent / "golden" / "made_by_8b2a81b.zip"
RECIPE = Recipe(
    model="ViTDigits",
    variant=Variant("ViTDigits", ViTTi16.family, Config(embed_dim=12, depth=1, num_heads=2, patch_size=4)),
    dataset="digits",
    img_size=(8, 8),
    epochs=3,
    batch_size=64,
    lr=3e-3,
    warmup_epochs=1,
    shift=0.1,
    drop_path=0.1,
    model_ema_decay=0.9,
    seed=3,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder with all of it; tests that write take a copy."""
    folder = tmp_path_factory.mktemp("made")
    with zipfile.ZipFile(MADE) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def files(made):
    return [path for path, _ in keras_vit.load_run(made / "run").test_images()[:20]]


@pytest.mark.parametrize(
    "source, name, tolerance",
    [
        ("run", "run", 1e-6),
        ("serving", "saved_model", 1e-6),
        ("edge/run_8_fp32.tflite", "fp32", 1e-6),
        ("edge/run_8_dynamic_int8.tflite", "dynamic_int8", 1e-2),  # rounding differs between processors' kernels
    ],
)
def test_each_predicts_as_it_did(made, files, source, name, tolerance):
    predictor = keras_vit.Predictor.open(made / source)
    assert predictor.labels == tuple("0123456789")
    with np.load(made / "expected.npz") as expected:
        np.testing.assert_allclose(predictor.predict(files), expected[name], atol=tolerance)


@pytest.mark.slow  # training/test_resume has one of today
def test_an_interrupted_run_ends_where_an_uninterrupted_one_did(made, tmp_path):
    folder = shutil.copytree(made / "interrupted", tmp_path / "run")
    results = trainer.train(RECIPE, folder)
    assert results == {
        "top1": pytest.approx(100 * 87 / 360),
        "top5": pytest.approx(100 * 300 / 360),
        "correct": 87,
        "n_images": 360,
        "chosen_on_same_pictures": False,
        "bad_pictures": 0,
    }
    ours, theirs = (keras_vit.load_run(path).load_model() for path in (folder, made / "run"))
    for weight, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5, err_msg=weight.path)


def test_a_finished_run_stays_finished(made, tmp_path):
    folder = shutil.copytree(made / "run", tmp_path / "run")
    before = (folder / "model.keras").read_bytes()
    assert trainer.train(RECIPE, folder)["correct"] == 87
    assert (folder / "model.keras").read_bytes() == before


@pytest.mark.slow  # export/serving/test_bundle has one of today
def test_a_run_is_exported_into_the_bundle_that_it_had(made, tmp_path, capsys):
    serving = shutil.copytree(made / "serving", tmp_path / "serving")
    assert main(["export", str(made / "run"), "--output", str(serving), "--max-images", "20"]) == 0
    assert {path.name for path in (serving / "models" / "run").iterdir()} == {"1", "2"}
    old, new = (keras_vit.Predictor.open(serving / "models" / "run" / version) for version in "12")
    files = [path for path, _ in keras_vit.load_run(made / "run").test_images()[:4]]
    np.testing.assert_allclose(new.predict(files), old.predict(files), atol=1e-6)


def test_the_artifacts_compare_with_the_run(made, capsys):
    arguments = ["compare", str(made / "run"), str(made / "serving"), str(made / "edge")]
    assert main([*arguments, "--max-images", "20"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "run_8_" in line or "SavedModel" in line]
    assert len(rows) == 3 and all("100.00 %" in row for row in rows)


def test_the_bundle_serves_what_it_did(made, tmp_path):
    with (tmp_path / "log").open("w") as log:
        server = running.start_ours(made / "serving", log, "run")
        try:
            command = [sys.executable, str(made / "serving" / "client.py"), "--url", server.url, "--check"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            server.process.kill()
            server.process.wait()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_run_is_validated_on_its_test_images(made, capsys):
    assert main(["validate", str(made / "run")]) == 0
    assert "top-1 24.167 %, top-5 83.333 % on 360 images" in capsys.readouterr().out
