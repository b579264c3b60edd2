"""Loggers: where the numbers of every epoch go besides summary.csv. TensorBoard's files, Weights & Biases, MLflow.

Each is a class that opens it, with `write(row)` for an epoch and `close(failed)`. The services are configured as their
own documentation says (WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI, ...). A run that is resumed goes on in the same
run of the service: its name there is kept in loggers.json of the run folder.

A logger never stops a run. One that cannot be opened is left out; what cannot be written is written with the next
epoch. Either is said once.
"""

import importlib.util
import json
import os
import time
import uuid
from pathlib import Path

from keras_vit.sources.run_folder import read_entries
from keras_vit.system.files import atomic_file

KNOWN = "loggers.json"  # {logger: id of the run there}
PACKAGES = {"wandb": "wandb", "mlflow": "mlflow"}  # logger: its package, and the extra that brings it
PROJECT = "keras_vit"  # of Weights & Biases, and MLflow's experiment, where the environment names none


class Loggers:
    """Context in which the loggers of a run are open.

    Args:
        names: of `settings.LOGGERS`; csv has nothing to open.
        folder: the run folder; None, on all workers but the chief, opens none.
        settings: of the run, which the services show beside its numbers.
        log: function that is called with the lines that the user is told.
    """

    def __init__(self, names, folder, settings, log):
        self.names = [] if folder is None else [name for name in names if name in KINDS]
        self.folder, self.settings, self.log = folder, settings, log
        self.open, self.waiting, self.told = {}, {}, set()

    def __enter__(self):
        for name in self.names:
            with self._telling(name, "is left out"):
                self.open[name] = KINDS[name](Path(self.folder), self.settings, self.log)
        return self

    def write(self, row):
        """Write the row of an epoch, and before it what could not be written earlier."""
        for name, logger in self.open.items():
            rows = self.waiting.setdefault(name, [])
            rows.append(row)
            with self._telling(name, "is tried again after every epoch"):
                while rows:
                    logger.write(rows[0])
                    del rows[0]

    def __exit__(self, kind, *_):
        for name, logger in self.open.items():
            lost = len(self.waiting.get(name, ()))
            if lost:
                self.log(f"{name} lacks the last {lost} epochs; summary.csv has them.")
            with self._telling(name, "may lack its end"):
                logger.close(failed=kind is not None)

    def _telling(self, name, consequence):
        return _Telling(self, name, consequence)


class _Telling:
    """Context in which a logger may fail: the first time, the user is told."""

    def __init__(self, loggers, name, consequence):
        self.loggers, self.name, self.consequence = loggers, name, consequence

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is None or not issubclass(kind, Exception):
            return False
        if self.name not in self.loggers.told:
            self.loggers.told.add(self.name)
            reason = " ".join(str(error).split())[:300] or kind.__name__
            self.loggers.log(f"{self.name} {self.consequence}, the run goes on: {reason}")
        return True


def require_packages(names):
    """Raise an ImportError that names the extra if the package of a logger is not installed."""
    for name in names:
        if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
            raise ImportError(
                f"log={name} needs the package {PACKAGES[name]}: pip install 'keras-vit-models[{name}]'.",
                name=PACKAGES[name],
            )


class TensorBoard:
    """Scalars per epoch, in tensorboard/ of the run folder."""

    def __init__(self, folder, settings=None, log=None):
        import tensorflow as tf

        self.writer = tf.summary.create_file_writer(str(Path(folder) / "tensorboard"))

    def write(self, row):
        """Write the scalars of an epoch."""
        import tensorflow as tf

        with self.writer.as_default():
            for name, value in scalars(row).items():
                tf.summary.scalar(name, value, step=row["epoch"])
        self.writer.flush()

    def close(self, failed=False):
        """Close the file."""
        self.writer.close()


class WandB:
    """A run of Weights & Biases; its files are in wandb/ of the run folder."""

    def __init__(self, folder, settings, log):
        import wandb

        known = _known(folder).get("wandb") or uuid.uuid4().hex[:8]
        _keep(folder, "wandb", known)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", folder.name),
            id=known,
            resume="allow",
            dir=str(folder),
            config=settings,
            settings=wandb.Settings(console="off", silent=True),  # what is printed is the run's
        )
        offline = f"offline, in {folder / 'wandb'}; `wandb sync` sends it"
        log(f"wandb: {offline if self.run.offline else self.run.url}")

    def write(self, row):
        """Write the numbers of an epoch."""
        self.run.log(scalars(row), step=row["epoch"])

    def close(self, failed):
        """End the run there; one that failed may be resumed."""
        self.run.finish(exit_code=int(failed))


class MLflow:
    """A run of MLflow, at MLFLOW_TRACKING_URI or where MLflow keeps runs by default."""

    def __init__(self, folder, settings, log):
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds; MLflow's own 7 are minutes
        import mlflow
        from mlflow.entities import Param

        self.client = mlflow.MlflowClient()
        known = _known(folder).get("mlflow")
        if known is None:
            known = self.client.create_run(self._experiment(), run_name=folder.name).info.run_id
            _keep(folder, "mlflow", known)
            named = [Param(name, str(value)[:500]) for name, value in settings.items()]
            for start in range(0, len(named), 100):  # the most that MLflow takes at once
                self.client.log_batch(known, params=named[start : start + 100])
        else:
            self.client.update_run(known, status="RUNNING")
        self.id = known
        log(f"mlflow: run {known} at {mlflow.get_tracking_uri()}")

    def _experiment(self):
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name)

    def write(self, row):
        """Write the numbers of an epoch."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, row["epoch"]) for name, value in scalars(row).items()]
        self.client.log_batch(self.id, metrics=metrics)

    def close(self, failed):
        """End the run there; one that failed may be resumed."""
        self.client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


KINDS = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def scalars(row):
    """The numbers of an epoch's row that are curves: all but its number and how long it took."""
    return {name: value for name, value in row.items() if name not in ("epoch", "seconds", "images_per_second")}


def _known(folder):
    path = folder / KNOWN
    return read_entries(path) if path.is_file() else {}


def _keep(folder, name, known):
    with atomic_file(folder / KNOWN) as temporary:
        temporary.write_text(json.dumps(_known(folder) | {name: known}, indent=2) + "\n", encoding="utf-8")
