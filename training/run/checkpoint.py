"""Checkpoints: the state of a run in one file, arrays by name and a JSON entry; and the folder of these files.

The file is an uncompressed .npz, whose format has a checksum (CRC-32) per array. It is written under a temporary name
and renamed, so that under its own name it is always complete.

    step-00000123.npz   everything needed to resume after 123 steps; the newest few are kept
    best-0007.npz       weights of the best epoch, kept while a checkpoint names it
"""

import json
import time
import zipfile
from pathlib import Path

import numpy as np

from keras_vit.system.files import atomic_file

STATE = "state.json"


def save(path, arrays, state):
    """Write `arrays`, a dictionary of numpy arrays, and `state`, a dictionary that JSON can hold, to `path`.

    Raises:
        OSError: for example on a full disk; it says that earlier checkpoints are intact.
    """
    text = np.frombuffer(json.dumps(state).encode(), "uint8")
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays, **{STATE: text})
    except OSError as error:
        raise OSError(
            f"{path} could not be written: {error.strerror or error}. Checkpoints written before are intact; "
            "make room, and the same command continues from the last of them."
        ) from error


def load(path):
    """(arrays, state) of a checkpoint; ValueError naming the file if it is damaged or no checkpoint."""

    def arrays_and_state(entries):
        arrays = {name: entries[name] for name in entries.files}
        return arrays, json.loads(arrays.pop(STATE).tobytes())

    return _read(path, arrays_and_state)


def load_state(path):
    """The state of a checkpoint without its arrays."""
    return _read(path, lambda entries: json.loads(entries[STATE].tobytes()))


def _read(path, extract):
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as entries:
            return extract(entries)
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a complete checkpoint ({error}).") from error


def restore(variables, arrays, path):
    """Assign every array to the variable of its name; ValueError if names or shapes do not match."""
    missing, unexpected = sorted(set(variables) - set(arrays)), sorted(set(arrays) - set(variables))
    wrong = [
        f"{name}: {arrays[name].shape} in the file, {tuple(v.shape)} in the model"
        for name, v in variables.items()
        if name in arrays and arrays[name].shape != tuple(v.shape)
    ]
    if missing or unexpected or wrong:
        raise ValueError(
            f"{path} is the checkpoint of another model. Missing: {_some(missing)}; "
            f"unexpected: {_some(unexpected)}; other shapes: {_some(wrong)}."
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _some(names):
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"


class Store:
    """The checkpoints of a run.

    Args:
        folder: the folder of the checkpoints.
        keep: number of checkpoints to keep for resuming, the newest.

    Attributes:
        damaged: {path: error} of the checkpoints that `load_newest` skipped.
    """

    def __init__(self, folder, keep):
        self.folder, self.keep, self.damaged = Path(folder), keep, {}

    def save(self, step, arrays, state):
        """Write the checkpoint after `step` steps, and remove those that are no longer needed.

        Args:
            state: as for `save`; state["best"] is None or the row of the best epoch, whose weights are kept.
        """
        path = self.folder / f"step-{step:08d}.npz"
        save(path, arrays, state)
        self.damaged.pop(path, None)
        self._prune()

    def save_best(self, epoch, arrays):
        """Write the weights of a new best epoch; call it before `save` of the checkpoint that names the epoch."""
        save(self.best_path(epoch), arrays, {"epoch": epoch})

    def best_path(self, epoch):
        """The file with the weights of a best epoch."""
        return self.folder / f"best-{epoch:04d}.npz"

    def load_newest(self):
        """(path, arrays, state) of the newest checkpoint that is complete; None if there are no checkpoints.

        Raises:
            ValueError: if all are damaged.
        """
        for path in reversed(self._steps()):
            try:
                return path, *load(path)
            except ValueError as error:
                self.damaged[path] = str(error)
        if self.damaged:
            raise ValueError(f"{' '.join(self.damaged.values())} Remove {self.folder} to begin the run again.")
        return None

    def _steps(self):
        return sorted(self.folder.glob("step-*.npz"))

    def _prune(self):
        """Keep the newest complete checkpoints, and the best weights that they name."""
        states = {path: self._state(path) for path in self._steps()}
        kept = [path for path, state in states.items() if state is not None][-self.keep :]
        for path in set(states) - set(kept):
            path.unlink()
        named = {self.best_path(states[path]["best"]["epoch"]) for path in kept if states[path]["best"]}
        for path in set(self.folder.glob("best-*.npz")) - named:
            path.unlink()

    def _state(self, path):
        """The state in a checkpoint, None in one that is damaged."""
        try:
            return None if path in self.damaged else load_state(path)
        except ValueError:
            return None


class Schedule:
    """When a checkpoint within an epoch is due.

    Args:
        interval: steps between two checkpoints; 0 for none by count.
        minutes: minutes between two checkpoints; 0 for none by time.
    """

    def __init__(self, interval, minutes):
        self.interval, self.minutes = interval, minutes
        self.restart()

    def restart(self):
        """Count the minutes from now: a checkpoint was written."""
        self.started = time.monotonic()

    def due(self, step):
        """Whether to write a checkpoint after `step` steps."""
        by_count = self.interval > 0 and step % self.interval == 0
        by_time = self.minutes > 0 and time.monotonic() - self.started >= 60 * self.minutes
        return by_count or by_time
