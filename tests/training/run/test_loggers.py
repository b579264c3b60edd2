import importlib.util
import io

import pytest
from rich.console import Console

from keras_vit.training import trainer
from keras_vit.training.run import loggers
from tests.training import toy


def row(epoch):
    return {"epoch": epoch, "train_loss": 1.5, "eval_top1": 50.0, "seconds": 2.0, "images_per_second": 3.0}


class Service:
    """A logger that cannot be reached at first, for as many calls as `failures` says."""

    def __init__(self, folder, settings, log):
        self.rows, self.failures, self.ended = [], 0, None
        Service.last = self

    def write(self, row):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the host\nis down")
        self.rows.append(row)

    def close(self, failed):
        self.ended = failed


class Unreachable:
    def __init__(self, folder, settings, log):
        raise TimeoutError


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setitem(loggers.KINDS, "wandb", Service)
    monkeypatch.setitem(loggers.KINDS, "mlflow", Unreachable)


def test_what_cannot_be_written_is_said_once_and_written_later(service, tmp_path):
    lines = []
    with loggers.Loggers(("csv", "wandb"), tmp_path, {}, lines.append) as opened:
        Service.last.failures = 2
        for epoch in range(4):
            opened.write(row(epoch))
    assert Service.last.rows == [row(epoch) for epoch in range(4)] and Service.last.ended is False
    assert lines == ["wandb is tried again after every epoch, the run goes on: the host is down"]


def test_a_logger_that_stays_down_is_said_at_the_end(service, tmp_path):
    lines = []
    with pytest.raises(ZeroDivisionError), loggers.Loggers(("wandb", "mlflow"), tmp_path, {}, lines.append) as opened:
        Service.last.failures = 9
        opened.write(row(0))
        opened.write(row(1))
        raise ZeroDivisionError
    assert lines[0] == "mlflow is left out, the run goes on: TimeoutError"
    assert lines[2:] == ["wandb lacks the last 2 epochs; summary.csv has them."]
    assert Service.last.ended is True


def test_other_workers_open_no_logger(service):
    with loggers.Loggers(("wandb", "tensorboard"), None, {}, None) as opened:
        opened.write(row(0))
    assert opened.open == {}


def test_interrupts_are_not_failures_of_a_logger(service, tmp_path, monkeypatch):
    with loggers.Loggers(("wandb",), tmp_path, {}, None) as opened:
        monkeypatch.setattr(Service.last, "write", lambda row: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            opened.write(row(0))
        opened.waiting.clear()


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loggers.require_packages(("csv", "tensorboard"))
    with pytest.raises(ImportError, match=r"log=mlflow needs the package mlflow: pip install 'keras-vit-models\[mlf"):
        loggers.require_packages(("tensorboard", "mlflow"))


def test_tensorboard_reads_the_scalars(tmp_path):
    import tensorflow as tf

    with loggers.Loggers(("tensorboard",), tmp_path, {}, print) as opened:
        opened.write(row(3))
    (path,) = (tmp_path / "tensorboard").iterdir()
    events = [e for e in tf.compat.v1.train.summary_iterator(str(path)) if e.summary.value]
    assert {v.tag for e in events for v in e.summary.value} == {"train_loss", "eval_top1"}
    assert {e.step for e in events} == {3}


@pytest.mark.slow
def test_a_run_whose_logger_is_down_goes_on_and_says_so(service, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "require_packages", lambda names: None)
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    recipe = toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), log="mlflow,wandb")
    assert trainer.train(recipe, tmp_path / "run", out)["n_images"] == 4
    assert out.file.getvalue().count("mlflow is left out, the run goes on: TimeoutError") == 1
    assert [row["epoch"] for row in Service.last.rows] == [0, 1]
    assert not (tmp_path / "run" / "tensorboard").exists() and (tmp_path / "run" / "summary.csv").is_file()
