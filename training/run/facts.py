"""What a checkpoint says of its run besides arrays: the step, the epochs so far, their best; checked before it is used.

step      updates done
history   a row per finished epoch, with the columns of summary.csv
best      the row of the best of them
sums      totals over the steps of the current epoch (`metrics.EpochMetrics`)
ended     true if a callback ended the run there; else it is missing
bad       {split: [[image, its replacement, reason]]} of the images that cannot be read (`Quarantine`)
"""

import math
from dataclasses import dataclass

from keras_vit.training.run.logs import LATER, columns_of

FIELDS = {"step": int, "history": list, "best": (dict, type(None)), "sums": dict, "bad": dict}
PERCENT = ("train_top", "train_exact", "eval_top", "eval_balanced", "eval_macro", "eval_micro", "eval_map")
SUMS = {"steps": int, "loss": float, "correct": float, "applied": int, "norm": float, "seconds": float}


@dataclass(frozen=True)
class Bounds:
    """What the facts of a run's checkpoints keep to.

    Args:
        epochs, steps: epochs of the run, steps of an epoch.
        images: {split, as checkpoints call it: number of images}.
    """

    epochs: int
    steps: int
    images: dict

    def check(self, facts):
        """Check the facts of a checkpoint, alone and against each other.

        Raises:
            ValueError: saying which cannot be of this run.
        """
        _require_fields(facts, FIELDS, "")
        step, history, best, sums, bad = (facts[name] for name in FIELDS)
        if len(history) > self.epochs:
            raise ValueError(f"it has {len(history)} epochs of {self.epochs}")
        ended = facts.get("ended", False) is True and len(history) > 0  # by a callback, maybe within its last epoch
        first = (len(history) - ended) * self.steps  # of the current epoch
        last = first + self.steps if len(history) - ended < self.epochs else first
        if not first + ended <= step <= last:
            raise ValueError(
                f"its step is {_short(step)}; after {len(history)} of {self.epochs} epochs of {self.steps} steps it "
                f"would be {first} to {last}"
            )
        for epoch, row in enumerate(history):
            _check_row(row, epoch)
        if best not in history if history else best is not None:
            raise ValueError("its best epoch is none of its epochs")
        _check_sums(sums, 0 if ended else step - first)
        _check_bad(bad, self.images)


def _check_row(row, epoch):
    where = f"epoch {epoch + 1}: "
    columns = columns_of(row) if isinstance(row, dict) else ()
    columns = [name for name in columns if name in row or name not in LATER]
    _require_fields(row, {name: int if name == "epoch" else float for name in columns}, where)
    if row["epoch"] != epoch:
        raise ValueError(f"{where}its number is {_short(row['epoch'])}")
    percent = [name for name in columns if name.startswith(PERCENT) and not 0 <= row[name] <= 100]
    if percent or row["seconds"] < 0:
        raise ValueError(f"{where}{percent[0] if percent else 'seconds'} is out of its range")


def _check_sums(sums, steps):
    _require_fields(sums, SUMS, "sums: ")
    if sums["steps"] != steps or not 0 <= sums["applied"] <= steps or sums["seconds"] < 0 or sums["correct"] < 0:
        raise ValueError(f"its sums are not those of the {steps} steps since the last epoch")


def _check_bad(bad, images):
    _require_fields(bad, dict.fromkeys(images, list), "bad: ")
    for split, count in images.items():
        for entry in bad[split]:
            fits = isinstance(entry, list) and [type(value) for value in entry] == [int, int, str]
            if not fits or not all(0 <= image < count for image in entry[:2]):
                raise ValueError(f"bad: an image of {split} is {_short(entry)}; there are {count}")


def _require_fields(found, kinds, where):
    if not isinstance(found, dict):
        raise ValueError(f"{where}expected fields, received {_short(found)}")
    for name, kind in kinds.items():
        if name not in found or not _is(found[name], kind):
            raise ValueError(f"{where}{name} is {_short(found[name]) if name in found else 'missing'}")


def _is(value, kind):
    if kind is float:  # JSON has 1 for 1.0
        return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
    return type(value) is int if kind is int else isinstance(value, kind)


def _short(value):
    text = type(value).__name__ if isinstance(value, (list, dict)) else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
