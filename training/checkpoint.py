"""The state of a run in one file: arrays by name, and a JSON entry with everything else.

The file is an uncompressed .npz, whose format keeps a checksum per array; it is written beside its name and renamed,
so that under that name there is always a complete checkpoint, the new one or the one before.
"""

import json
import zipfile
from pathlib import Path

import numpy as np

from keras_vit.files import atomic_file

STATE = "state.json"


def save(path, arrays, state):
    """Write `arrays`, a dictionary of numpy arrays, and `state`, a dictionary that JSON can hold, to `path`."""
    text = np.frombuffer(json.dumps(state).encode(), "uint8")
    with atomic_file(path) as temporary:
        with temporary.open("wb") as file:
            np.savez(file, **arrays, **{STATE: text})


def load(path):
    """(arrays, state) of a checkpoint; ValueError naming a file that is damaged or no checkpoint."""
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as entries:
            arrays = {name: entries[name] for name in entries.files}
        state = json.loads(arrays.pop(STATE).tobytes())
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not a complete checkpoint ({error}). Remove it to begin the run again.") from error
    return arrays, state


def variables_of(model, optimizer=None):
    """Name -> variable, for all a run must keep: weights, moving averages, moments, the count of steps.

    The seeds of the layers are left out: every step draws them anew.
    """
    kept = [v for v in model.variables if not v.path.endswith("seed_generator_state")]
    named = {f"model/{i:05d}/{v.path}": v for i, v in enumerate(kept)}
    if optimizer is not None:
        named |= {f"optimizer/{i:05d}/{v.path}": v for i, v in enumerate(optimizer.variables)}
    return named


def arrays_of(variables):
    """Name -> value as numpy."""
    return {name: np.asarray(v.numpy()) for name, v in variables.items()}


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
