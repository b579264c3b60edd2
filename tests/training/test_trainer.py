import io
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from rich.console import Console

from keras_vit.runs import Run
from keras_vit.training import checkpoint, logs, trainer
from tests.training import toy

TIMES = {"seconds", "images_per_second"}


@pytest.fixture
def recipe(tmp_path):
    return toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), epochs=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped, of the data that `recipe` has."""
    folder = tmp_path_factory.mktemp("whole")
    train(toy.recipe(data_dir=str(toy.write_folder(folder / "data")), epochs=4), folder / "run")
    return folder / "run"


def train(recipe, folder):
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    return trainer.train(recipe, folder, out), out.file.getvalue()


def last(folder):
    arrays, state = checkpoint.load(folder / "checkpoints" / "last.npz")
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in state["history"]]
    return arrays, rows


def assert_same_run(one, other):
    (first, rows), (second, others) = last(one), last(other)
    assert rows == others and set(first) == set(second)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    for a, b in zip(*(Run.open(f).load_model().get_weights() for f in (one, other))):
        np.testing.assert_array_equal(a, b)


def test_a_run_folder_is_complete_and_a_finished_run_says_so(tmp_path, recipe):
    results, text = train(recipe.replace(epochs=2), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert (run.model_name, run.labels, run.spec.size) == ("Toy", ("blue", "green", "red"), (8, 8))
    held_out = run.held_out()
    assert len(held_out) == results["n_images"] == 4
    assert all(path.is_file() for path, _ in held_out)
    names = {path.name for path in run.path.iterdir()}
    assert names >= {"summary.csv", "args.yaml", "curves.png", "held_out.png", "results.csv", "tensorboard"}
    assert "2 x CPU" in text and "8 (4 per device)" in text and "epoch   2/2" in text
    again, text = train(recipe.replace(epochs=2), tmp_path / "run")
    assert again == results and "is finished. Held-out accuracy" in text and "epoch" not in text


def test_colours_are_learned(tmp_path, recipe):
    still = {"drop": 0.0, "smoothing": 0.0, "shift": 0.0}
    results, _ = train(recipe.replace(epochs=8, lr=1e-2, **still), tmp_path / "run")
    assert results["top1"] == 100


class Stop(Exception):
    pass


def stop_at(monkeypatch, method, call):
    """Raise Stop at the given call of a method of the trainer."""
    original, calls = getattr(trainer.Trainer, method), []

    def stopping(self, *args):
        calls.append(args)
        if len(calls) == call:
            raise Stop
        return original(self, *args)

    monkeypatch.setattr(trainer.Trainer, method, stopping)


@pytest.mark.parametrize("method, call", [("train_epoch", 3), ("save_last", 2), ("save_model", 2)])
def test_a_stopped_run_ends_as_one_that_was_not(tmp_path, recipe, whole, monkeypatch, method, call):
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_at(patch, method, call)
        train(recipe, tmp_path / "stopped")
    _, text = train(recipe, tmp_path / "stopped")
    assert "continuing after epoch" in text
    assert_same_run(whole, tmp_path / "stopped")


def test_a_full_disk_leaves_the_epoch_before(tmp_path, recipe, monkeypatch):
    stop_at(monkeypatch, "train_epoch", 3)
    with pytest.raises(Stop):
        train(recipe, tmp_path / "run")
    monkeypatch.undo()
    before, rows = last(tmp_path / "run")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    original = trainer.Trainer.keep

    def keep(self, row):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
        return original(self, row)

    monkeypatch.setattr(trainer.Trainer, "keep", keep)
    try:
        with pytest.raises(OSError):
            train(recipe, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after, same = last(tmp_path / "run")
    assert same == rows and all((after[name] == before[name]).all() for name in before)
    Run.open(tmp_path / "run").load_model()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path, recipe):
    with pytest.raises(FloatingPointError, match=r"Step \d+: loss (nan|inf)"):
        train(recipe.replace(lr=1e30, clip_grad=None, warmup_epochs=0), tmp_path / "run")


def test_a_corrupt_picture_is_named_counted_and_listed(tmp_path, recipe):
    for i in range(12, 40):  # so that one of them is below the fraction
        (tmp_path / "data" / "red" / f"{i}.png").write_bytes((tmp_path / "data" / "red" / "00.png").read_bytes())
    broken = tmp_path / "data" / "red" / "05.png"
    broken.write_bytes(broken.read_bytes()[:50])
    results, text = train(recipe.replace(epochs=1, max_bad_fraction=0.3), tmp_path / "run")
    assert results["bad_pictures"] == 1 and "1 unreadable left out" in text
    assert str(broken) in (tmp_path / "run" / "bad_files.txt").read_text()


def test_bad_input_leaves_nothing_behind(tmp_path, recipe):
    for path in (tmp_path / "data" / "red").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be decoded, more than max_bad_fraction"):
        train(recipe, tmp_path / "run")
    with pytest.raises(ValueError, match="batch_size"):
        train(recipe.replace(batch_size=7, max_bad_fraction=0.9), tmp_path / "run")
    assert not (tmp_path / "run").exists()


PROGRAM = """
import sys
from keras_vit.training import trainer
from tests.training import toy
recipe = toy.recipe(data_dir=sys.argv[1], epochs=4, deterministic=True)
trainer.train(recipe, sys.argv[2])
"""


def start(data, folder):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", PROGRAM, str(data), str(folder)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def test_kill_9_loses_nothing(tmp_path, recipe):
    process = start(recipe.data_dir, tmp_path / "killed")
    while process.poll() is None and not (tmp_path / "killed" / "summary.csv").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    _, rows = last(tmp_path / "killed")
    assert 1 <= len(rows) <= 4
    Run.open(tmp_path / "killed").load_model()
    for folder in ("killed", "whole"):
        process = start(recipe.data_dir, tmp_path / folder)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert len(logs.read_settings(tmp_path / "whole")["classes"]) == 3
