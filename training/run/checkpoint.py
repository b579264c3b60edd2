"""Checkpoints: the state of a run in one file, arrays by name and a JSON entry; and the folder of these files.

The file is an uncompressed .npz, whose format has a checksum (CRC-32) per array; the state has one of all of them and
of itself (`archive`). It is written under a temporary name and renamed, so that under its own name it is always
complete.

    step-00000123.npz   everything needed to resume after 123 steps; the newest few are kept
    best-0007.npz       weights of the best epoch, kept while a checkpoint names it
    epoch-0005.npz      weights of an epoch as its model.keras would have them, kept to be averaged (`averaging`)
"""

import contextlib
import os
import time
from pathlib import Path

import numpy as np

from keras_vit.system.files import atomic_file
from keras_vit.training.run import archive

WEIGHTS = ("model/", "ema/")  # how the names of weights begin; moments may overflow, weights may not


def save(path, arrays, state):
    """Write `arrays`, a dictionary of numpy arrays, and `state`, a dictionary that JSON can hold, to `path`.

    Raises:
        OSError: for example on a full disk; it says that earlier checkpoints are intact.
    """
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            archive.write(file, arrays, state)
    except OSError as error:
        raise OSError(
            f"{path} could not be written: {error.strerror or error}. Checkpoints written before are intact; "
            "make room, and the same command continues from the last of them."
        ) from error


def load(path, variables=None, check=None):
    """(arrays, state) of a checkpoint.

    Args:
        variables: {name: variable} that the arrays are for; their names and shapes are compared before any is read.
        check: called with the state; it raises a ValueError if that cannot be of the run.
    Raises:
        ValueError: naming the file if it is damaged, no checkpoint, of another run, or has weights that are not finite.
    """
    with _opened(path) as entries:
        state = entries.state()
        if check is not None:
            _checked(path, state, check)
        if variables is not None:
            _refuse_others(variables, {name: entries.header(name)[0] for name in entries.names}, path)
        arrays = {name: entries.array(name) for name in entries.names}
    _refuse_another_step(arrays, state, path)
    _refuse_not_finite(arrays, path)
    return arrays, state


def load_state(path):
    """The state of a checkpoint without its arrays."""
    with _opened(path) as entries:
        return entries.state()


@contextlib.contextmanager
def _opened(path):
    try:
        with archive.Archive(path) as entries:
            yield entries
    except _Refused:
        raise
    except ValueError as error:
        raise ValueError(f"{path} is not a complete checkpoint ({error}).") from error


class _Refused(ValueError):
    """A complete checkpoint that is not this run's."""


def _checked(path, state, check):
    try:
        check(state)
    except ValueError as error:
        raise _Refused(f"{path} cannot be a checkpoint of this run: {error}.") from error


def restore(variables, arrays, path):
    """Assign every array to the variable of its name; ValueError if names or shapes do not match."""
    _refuse_others(variables, {name: array.shape for name, array in arrays.items()}, path)
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _refuse_others(variables, shapes, path):
    missing, unexpected = sorted(set(variables) - set(shapes)), sorted(set(shapes) - set(variables))
    wrong = [
        f"{name}: {shapes[name]} in the file, {tuple(v.shape)} in the model"
        for name, v in variables.items()
        if name in shapes and shapes[name] != tuple(v.shape)
    ]
    if missing or unexpected or wrong:
        raise _Refused(
            f"{path} is the checkpoint of another model. Missing: {_some(missing)}; "
            f"unexpected: {_some(unexpected)}; other shapes: {_some(wrong)}."
        )


def _refuse_another_step(arrays, state, path):
    """The optimizer counts the updates too, so that checkpoints without a checksum are bound to their arrays by it."""
    for name, array in arrays.items():
        if name.endswith("/iteration") and "step" in state and array.tolist() != state["step"]:
            raise _Refused(f"{path} cannot be a checkpoint of this run: its step is {state['step']}, {name} {array}.")


def _refuse_not_finite(arrays, path):
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            bad = ~np.isfinite(array) if name.startswith(WEIGHTS) else np.isnan(array)
            if bad.any():
                raise _Refused(
                    f"{path} holds {np.count_nonzero(bad)} numbers in {name} that are not finite. It was damaged after "
                    "or while it was written; what is trained now has nothing to do with it."
                )


def _some(names):
    names = [name[:120] for name in names]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "none"


class Store:
    """The checkpoints of a run.

    Args:
        folder: the folder of the checkpoints.
        keep: number of checkpoints to keep for resuming, the newest.
        variables, check: as for `load`: what makes a checkpoint one of this run.

    Attributes:
        damaged: {path: error} of the checkpoints that `load_newest` skipped.
        best_weights: the arrays of the best epoch that the loaded checkpoint names; None before, or if it names none.
    """

    def __init__(self, folder, keep, variables=None, check=None):
        self.folder, self.keep, self.variables, self.check = Path(folder), keep, variables, check
        self.damaged, self.best_weights = {}, None

    def save(self, step, arrays, state):
        """Write the checkpoint after `step` steps, and remove those that are no longer needed.

        Args:
            state: as for `save`; state["best"] is None or the row of the best epoch, whose weights are kept.
        """
        path = self.folder / f"step-{step:08d}.npz"
        if self.damaged.pop(path, None):
            _put_away(path)
        save(path, arrays, state)
        self._prune()

    def save_best(self, epoch, arrays):
        """Write the weights of a new best epoch; call it before `save` of the checkpoint that names the epoch."""
        path = self.best_path(epoch)
        if os.path.lexists(path) and not path.is_file():
            _put_away(path)
        save(path, arrays, {"epoch": epoch})

    def save_epoch(self, epoch, weights):
        """Write the weights of an epoch, a list of arrays, to be averaged with those of others."""
        save(self.epoch_path(epoch), {f"model/{i:05d}": w for i, w in enumerate(weights)}, {"epoch": epoch})

    def load_epoch(self, epoch):
        """The weights of an epoch, a list of arrays.

        Raises:
            ValueError: naming the file, if it is damaged.
        """
        arrays, _ = load(self.epoch_path(epoch))
        return [arrays[name] for name in sorted(arrays)]

    def epoch_path(self, epoch):
        """The file with the weights of an epoch."""
        return self.folder / f"epoch-{epoch:04d}.npz"

    def prune_epochs(self, kept):
        """Remove the weights of the epochs that are not among `kept`."""
        for path in set(self.folder.glob("epoch-*.npz")) - {self.epoch_path(epoch) for epoch in kept}:
            _put_away(path)

    def best_path(self, epoch):
        """The file with the weights of a best epoch."""
        return self.folder / f"best-{epoch:04d}.npz"

    def load_newest(self):
        """(path, arrays, state) of the newest checkpoint that is complete; None if there are no checkpoints.

        Whatever is wrong with one, the one before it is taken: with its file, its state, or with the file of the best
        weights that it names.

        Raises:
            ValueError: if all are damaged.
        """
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise ValueError(f"{self.folder} is not a folder of checkpoints. Remove it to begin the run again.")
        for path in reversed(self._steps()):
            try:
                arrays, state = load(path, self.variables, self.check)
                self.best_weights = self._load_best(path, state)
                return path, arrays, state
            except ValueError as error:
                self.damaged[path] = str(error)
        if self.damaged:
            raise ValueError(f"{' '.join(self.damaged.values())} Remove {self.folder} to begin the run again.")
        return None

    def _load_best(self, path, state):
        """The weights of the best epoch that a checkpoint names, if it names one."""
        epoch, variables = _best_epoch(state), self.variables
        if epoch is None:
            return None
        if variables is not None:
            variables = {name: v for name, v in variables.items() if name.startswith("model/")}
        try:
            return load(self.best_path(epoch), variables)[0]
        except ValueError as error:
            raise ValueError(f"{path} names the weights of its best epoch; {error}") from error

    def _steps(self):
        return sorted(self.folder.glob("step-*.npz"))

    def _prune(self):
        """Keep the newest complete checkpoints, and the best weights that they name."""
        states = {path: self._state(path) for path in self._steps()}
        kept = [path for path, state in states.items() if state is not None][-self.keep :]
        for path in set(states) - set(kept):
            _put_away(path)
        named = {self.best_path(_best_epoch(states[path])) for path in kept if states[path].get("best")}
        for path in set(self.folder.glob("best-*.npz")) - named:
            _put_away(path)

    def _state(self, path):
        """The state in a checkpoint, None in one that is damaged."""
        try:
            state = None if path in self.damaged else load_state(path)
            if state is not None:
                _best_epoch(state)
            return state
        except ValueError:
            return None


def _best_epoch(state):
    """The number of the best epoch that a state names; None if it names none."""
    best = state.get("best")
    if best is None:
        return None
    if not isinstance(best, dict) or type(best.get("epoch")) is not int:
        raise ValueError("the best epoch of its state has no number")
    return best["epoch"]


def _put_away(path):
    """Remove a file, whatever kind it is; a folder, which may hold anything, gets another name."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"not-a-checkpoint-{time.time_ns()}-{path.name}"))
    else:
        path.unlink(missing_ok=True)


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
