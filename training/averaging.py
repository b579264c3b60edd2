"""Averages of a run's checkpoints: the last K epochs, or the K best by the run's eval_metric.

The weights of epochs late in a run lie on the rim of one basin, and their mean nearer to its middle, which often
generalises better (Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization,
arXiv:1803.05407). Theirs is a mean along a constant or cyclic rate; here it is one of the epochs that there are, each
with the same weight, moving averages of batch normalisation included. A run keeps what is needed if `average_hist`
says so.
"""

import re
import shutil
from pathlib import Path

import numpy as np

from keras_vit.sources import run_folder
from keras_vit.training import decision
from keras_vit.training.run import checkpoint, logs, model_file
from keras_vit.training.settings import RunSettings

FORM = re.compile(r"(last|best):([1-9]\d{0,3})")
OF_ITS_OWN = ("finished", "held_out", "best_epoch", "train_seconds")  # entries of run.json that say how the run went


def epochs_to_keep(history, count, rank):
    """Numbers of the epochs whose weights a run keeps: the newest `count`, and the best `count`.

    Args:
        history: a row per finished epoch.
        rank: function from a row to its sort key; the best has the highest, of equal ones the earlier.
    """
    best = sorted(history, key=rank, reverse=True)[:count] if count else []
    return {row["epoch"] for row in [*history[len(history) - count :], *best]} if count else set()


def write_average(folder, which, output=None):
    """Average epochs of a run, and write the mean as a run folder of its own, which everything takes.

    Thresholds, the unknown score's and the temperature are those of the run.

    Args:
        folder: a run folder, finished or not.
        which: "last:3" or "best:3".
        output: the new folder; average-last-3, ... in the run's own if None. One that is there is replaced.
    Returns:
        (path of the new folder, numbers of the epochs from 0, ascending).
    Raises:
        ValueError: if the run did not keep the weights of these epochs, naming those that it kept.
    """
    run = run_folder.Run.open(Path(folder).absolute())
    epochs = find_epochs(run.path, which)
    entries = run_folder.read_entries(run.path / run_folder.RUN)
    model = run.load_model()
    model.set_weights(mean_weights(run.path, epochs, model.get_weights()))
    if "temperature" in entries:
        decision.divide_logits(model, entries["temperature"])
    name = which.replace(":", "-")
    output = run.path / f"average-{name}" if output is None else Path(output).absolute()
    output.mkdir(parents=True, exist_ok=True)
    model_file.write(model, output / run_folder.MODEL)
    if (run.path / run_folder.TEST_IMAGES).is_file():
        run_folder.Run.write_test_images(output, run.test_images())
    if (run.path / run_folder.SETTINGS).is_file():
        shutil.copyfile(run.path / run_folder.SETTINGS, output / run_folder.SETTINGS)
    kept = {key: value for key, value in entries.items() if key not in OF_ITS_OWN}
    run_folder.Run.write_description(
        output,
        name=f"{run.name}-{name}",
        model_name=run.model_name,
        labels=run.labels,
        spec=run.spec,
        details=kept | {"averaged": {"of": which, "epochs": epochs}},
    )
    return output, epochs


def find_epochs(folder, which):
    """Numbers of the epochs of a run that "last:3" or "best:3" means, ascending.

    Raises:
        ValueError: for another form, and for epochs whose weights the run did not keep.
    """
    found = FORM.fullmatch(which)
    if not found:
        raise ValueError(f"Expected last:K or best:K, as in best:3. Received: {which}.")
    kind, count = found[1], int(found[2])
    history, rank = _history(folder)
    rows = sorted(history, key=rank, reverse=True) if kind == "best" else history[::-1]
    epochs = sorted(row["epoch"] for row in rows[:count])
    store = checkpoint.Store(folder / run_folder.CHECKPOINTS, 1)
    missing = [epoch + 1 for epoch in epochs if not store.epoch_path(epoch).is_file()]
    if missing or len(epochs) < count:
        lacking = f"the weights of {_epochs(missing)}" if missing else f"{count} epochs, but {len(epochs)}"
        raise ValueError(
            f"{folder} does not have {lacking}, which {which} averages. A run keeps the weights of its epochs if it is "
            f"trained with average_hist (--average-hist {count})."
        )
    return epochs


def mean_weights(folder, epochs, like):
    """The means of the weights of epochs, in float64 until the end.

    Args:
        folder: a run folder.
        epochs: their numbers.
        like: arrays of the run's model, which give shapes and types; integers are taken from them.
    Returns:
        A list of arrays.
    Raises:
        ValueError: naming a file that is damaged or of another model.
    """
    store = checkpoint.Store(Path(folder) / run_folder.CHECKPOINTS, 1)
    sums = [np.zeros(array.shape, "float64") for array in like]
    for epoch in epochs:
        weights = store.load_epoch(epoch)
        if [w.shape for w in weights] != [w.shape for w in like]:
            raise ValueError(f"{store.epoch_path(epoch)} holds the weights of another model than {run_folder.MODEL}.")
        for total, weight in zip(sums, weights):
            total += weight
    floating = [array.dtype.kind == "f" for array in like]
    return [(s / len(epochs)).astype(a.dtype) if f else a for s, a, f in zip(sums, like, floating)]


def _history(folder):
    """The history of a run by its newest checkpoint, and what ranks its epochs."""
    newest = max((folder / run_folder.CHECKPOINTS).glob("step-*.npz"), default=None)
    if newest is None:
        raise ValueError(f"{folder} has no checkpoints, and so no epochs to average.")
    settings = logs.read_settings(folder) or {}
    default = RunSettings().eval_metric
    return checkpoint.load_state(newest)["history"], RunSettings(eval_metric=settings.get("eval_metric", default)).rank


def _epochs(numbers):
    return f"epoch{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
