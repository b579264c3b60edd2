"""Commands that are killed at random moments, and by each signal: the next ends as if there had been none before it.

`tests/training/test_resume.py` kills training, whose state must survive to the bit.
"""

import os
import pty
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_vit import load_run
from keras_vit.prediction.predictor import Predictor
from tests.training import toy

pytestmark = pytest.mark.slow
MADE = Path(__file__).parents[1] / "golden" / "made_by_8b2a81b.zip"
SIGNALS = [signal.SIGKILL] * 7 + [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
VERBS = {
    "export": ["--max-images", "4", "--batch-sizes", "1"],
    "convert": ["--max-images", "4", "--quant", "none"],
}


def start(arguments, temporary, **pipes):
    """A process of the command, whose temporary folder is `temporary`."""
    temporary.mkdir(exist_ok=True)
    environment = os.environ | {"TMPDIR": str(temporary), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, "-m", "keras_vit", *map(str, arguments)], env=environment, **pipes)


def finish(arguments, temporary):
    """Run the command to its end; the seconds that it took."""
    begun = time.monotonic()
    assert start(arguments, temporary).wait(timeout=600) == 0
    return time.monotonic() - begun


def content(folder):
    """{path: size} of all below a folder, but for the numbers of versions."""
    return {
        str(path.relative_to(folder)).replace("/2", "/1"): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("report.json", ".lock")  # timings; a lock that stays
    }


@pytest.fixture
def run(tmp_path):
    with zipfile.ZipFile(MADE) as archive:
        archive.extractall(tmp_path / "made")
    return tmp_path / "made" / "run"


@pytest.mark.parametrize("verb", ["export", "convert"])
def test_an_export_that_was_killed_ten_times_is_as_one_that_was_not(tmp_path, run, verb):
    dice = random.Random(verb)
    whole, killed, temporary = tmp_path / "whole", tmp_path / "killed", tmp_path / "temporary"
    seconds = finish([verb, run, "--output", whole, *VERBS[verb]], temporary)
    for number in SIGNALS:
        process = start([verb, run, "--output", killed, *VERBS[verb]], temporary, stderr=subprocess.PIPE, text=True)
        time.sleep(dice.uniform(0.02, 0.95) * seconds)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, -number, 128 + number)
        if number != signal.SIGKILL:
            assert "Traceback" not in errors and list(temporary.iterdir()) == []
    if verb == "export":  # a version that was complete stays, and the next has the next number
        subprocess.run(["rm", "-rf", *killed.glob("models/*/[0-9]*"), *killed.glob("examples")], check=True)
    finish([verb, run, "--output", killed, *VERBS[verb]], temporary)
    assert list(temporary.iterdir()) == [] and content(killed) == content(whole)
    images = [path for path, _ in load_run(run).test_images()][:8]
    one, other = (Predictor.open(_artifact(folder, verb)).predict(images) for folder in (whole, killed))
    np.testing.assert_array_equal(one, other)


def _artifact(folder, verb):
    return folder if verb == "export" else next(folder.glob("*.tflite"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_training_in_a_terminal_that_is_closed_or_signalled_is_saved(tmp_path, number):
    data, folder, temporary = toy.write_folder(tmp_path / "data"), tmp_path / "run", tmp_path / "temporary"
    temporary.mkdir()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tests.training.worker", str(data), str(folder), '{"epochs": 100000}']
    environment = os.environ | {"TMPDIR": str(temporary), "CUDA_VISIBLE_DEVICES": ""}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    process = subprocess.Popen(command, env=environment, **streams)
    os.close(theirs)
    os.set_blocking(ours, False)
    end = time.monotonic() + 120
    while not (folder / "summary.csv").exists() and time.monotonic() < end:
        _drain(ours)
        time.sleep(0.05)
    if number == signal.SIGHUP:
        os.close(ours)  # whatever is printed from now on is an error
    process.send_signal(number)
    assert process.wait(timeout=60) == (130 if number == signal.SIGINT else 0)
    steps = [int(path.stem.split("-")[1]) for path in folder.glob("checkpoints/step-*.npz")]
    assert steps and list(temporary.iterdir()) == []


def _drain(descriptor):
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:
        pass


@pytest.mark.parametrize("verb", ["list", "validate", "train"])
def test_an_interrupt_at_the_start_is_a_line(tmp_path, run, verb):
    arguments = {"list": ["list"], "validate": ["validate", run], "train": ["train", "--output", tmp_path / "out"]}
    for tenths in range(10):
        process = start(arguments[verb], tmp_path / "temporary", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        _wait_for_handler(process)
        time.sleep(tenths / 5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 130), errors
        assert b"Traceback" not in errors and errors.strip().count(b"\n") == 0


def _wait_for_handler(process):
    """Until the process has come to this library: what Python does before, it says in its own words."""
    status = Path(f"/proc/{process.pid}/status")
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        caught = int(status.read_text().partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)
