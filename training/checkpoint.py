"""The state of a run in one file: arrays by name, and a JSON entry with everything else; and the folder of such files.

The file is an uncompressed .npz, whose format keeps a checksum (CRC-32) per array; it is written beside its name and
renamed, so that under that name there is always a complete checkpoint.

    step-00000123.npz   all that a run needs to go on after 123 steps; the newest few are kept
    best-0007.npz       weights of the epoch with the best validation accuracy, as long as a kept checkpoint names it
"""

import json
import zipfile
from pathlib import Path

import numpy as np

from keras_vit.files import atomic_file

STATE = "state.json"


def save(path, arrays, state):
    """Write `arrays`, a dictionary of numpy arrays, and `state`, a dictionary that JSON can hold, to `path`.

    Raises: OSError saying what was left intact, on a full disk for instance.
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
    """(arrays, state) of a checkpoint; ValueError naming a file that is damaged or no checkpoint."""

    def everything(entries):
        arrays = {name: entries[name] for name in entries.files}
        return arrays, json.loads(arrays.pop(STATE).tobytes())

    return _read(path, everything)


def load_state(path):
    """The state alone."""
    return _read(path, lambda entries: json.loads(entries[STATE].tobytes()))


def _read(path, what):
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as entries:
            return what(entries)
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a complete checkpoint ({error}).") from error


def restore(variables, arrays, path):
    """Assign every array to the variable of its name; ValueError if names or shapes are those of another model."""
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
        folder: where they lie.
        keep: how many to continue from, the newest.

    Attributes:
        damaged: {path: what is wrong} of the checkpoints that `load_newest` passed over.
    """

    def __init__(self, folder, keep):
        self.folder, self.keep, self.damaged = Path(folder), keep, {}

    def save(self, step, arrays, state):
        """Write the checkpoint after `step` steps, and remove what it makes superfluous.

        Args:
            state: as `save` takes it; state["best"] is None or names the best epoch, whose weights are kept.
        """
        path = self.folder / f"step-{step:08d}.npz"
        save(path, arrays, state)
        self.damaged.pop(path, None)
        self._prune()

    def save_best(self, epoch, arrays):
        """Write the weights of a new best epoch: before the checkpoint that names it."""
        save(self.best_path(epoch), arrays, {"epoch": epoch})

    def best_path(self, epoch):
        """The weights of a best epoch."""
        return self.folder / f"best-{epoch:04d}.npz"

    def load_newest(self):
        """(path, arrays, state) of the newest checkpoint that is complete, None where there is none at all.

        Raises: ValueError if all are damaged.
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
