"""Weights & Biases and MLflow themselves, without a network: what a run logs is there, and again after a stop.

make test-loggers         which makes the environment and runs  python -m tests.training.run.real_loggers build/loggers
"""

import io
import math
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from keras_vit.training import trainer
from keras_vit.training.run import loggers
from keras_vit.training.run.signals import Stopped
from tests.training import toy

REFUSED = "http://127.0.0.1:9"  # where nothing listens


def train(recipe, folder):
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    trainer.train(recipe, folder, out)
    return out.file.getvalue()


def logged_by_wandb(folder):
    """{epoch: its numbers} in the files of wandb's offline runs, and the ids of the runs."""
    from wandb.proto import wandb_internal_pb2 as records

    rows, ids = {}, set()
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in records_of(path.read_bytes()):
            record = records.Record.FromString(data)
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
                step = int(items["_step"]) if "_step" in items else record.history.step.num
                rows[step] = {name: float(v) for name, v in items.items() if not name.startswith("_")}
    return rows, ids


def records_of(content, block=32768):
    """The records in a .wandb file: LevelDB's log format behind 7 bytes of its own.

    A record lies in pieces, none of which crosses the end of a block: checksum (4 bytes), length (2), kind (1), data.
    """
    place, whole = 7, b""
    while place < len(content):
        if block - place % block < 7:  # the rest of a block is too short for another piece
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield whole
            whole = b""


def logged_by_mlflow():
    """{epoch: its numbers}, the parameters, and the state of the only run in MLflow's store."""
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(loggers.PROJECT)
    (run,) = client.search_runs([experiment.experiment_id])
    rows = {}
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            rows.setdefault(metric.step, {})[name] = metric.value
    return rows, run.data.params, run.info.status


def assert_same(rows, history):
    """Every number of every epoch, as it was."""
    expected = {row["epoch"]: loggers.scalars(row) for row in history}
    assert set(rows) == set(expected), f"epochs {sorted(rows)} were logged, of {sorted(expected)}"
    for epoch, row in expected.items():
        assert set(rows[epoch]) == set(row), f"epoch {epoch}: {sorted(rows[epoch])}"
        assert all(math.isclose(rows[epoch][name], value, rel_tol=1e-9) for name, value in row.items())


def check_resumed(recipe, folder):
    """A run that is stopped after its second epoch and continued is one run in both services."""
    original = trainer.Trainer.goes_on

    def stopped_in_the_middle(self):
        if len(self.history) == 2:
            raise Stopped(self.step, None)
        return original(self)

    trainer.Trainer.goes_on = stopped_in_the_middle
    try:
        train(recipe, folder)
        raise AssertionError("the run was not stopped")
    except Stopped:
        assert logged_by_mlflow()[2] == "FAILED"
    finally:
        trainer.Trainer.goes_on = original
    text = train(recipe, folder)
    assert "wandb: offline, in" in text and "mlflow: run" in text, text
    history = toy.checkpoint.Store(folder / "checkpoints", 2).load_newest()[2]["history"]
    rows, ids = logged_by_wandb(folder)
    assert_same(rows, history)
    assert len(ids) == 1, f"wandb has the runs {ids}"
    rows, parameters, status = logged_by_mlflow()
    assert_same(rows, history)
    assert parameters["epochs"] == str(recipe.epochs) and parameters["model"] == "Toy" and status == "FINISHED"


def check_unreachable(recipe, folder):
    """Neither service answers: the run ends as it would, and says each once."""
    os.environ |= {"MLFLOW_TRACKING_URI": REFUSED, "WANDB_MODE": "online", "WANDB_BASE_URL": REFUSED}
    os.environ |= {"WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "10"}
    text = train(recipe.replace(epochs=1), folder)
    for name in ("wandb", "mlflow"):
        assert text.count(f"{name} is left out, the run goes on: ") == 1, text
    assert "Test accuracy" in text and (folder / "summary.csv").is_file()
    print("\n".join(line for line in text.splitlines() if "is left out" in line))


CHECKS = {"resumed": check_resumed, "unreachable": check_unreachable}


def main(folder, check=None):
    recipe = toy.recipe(data_dir=str(folder / "data"), epochs=4, log="csv,wandb,mlflow")
    if check:
        CHECKS[check](recipe, folder / check)
        return
    shutil.rmtree(folder, ignore_errors=True)
    toy.write_folder(folder / "data")
    os.environ |= {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    for name in CHECKS:  # in a process each: wandb reads its environment once
        subprocess.run([sys.executable, "-m", __spec__.name, folder, name], check=True)
    print("wandb and mlflow have every number of every epoch, before and after a stop; without them the run goes on")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), *sys.argv[2:])
