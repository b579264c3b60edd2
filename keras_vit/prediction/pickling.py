"""What a `Predictor` or an `Embedder` is made again from in another process.

Of one that was opened, its source and the options travel, some hundred bytes: an engine sends them with every task, and
the model opens where they arrive, which must see the same source. A model in memory has no source; its `.keras` file
travels instead. Where either arrives, it is made at the first unpickling and shared by all later ones of the process.
"""

import hashlib
import os
import pickle
import platform
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from keras_vit.sources.keras_archive import load_keras_model
from keras_vit.system.files import scratch_folder

KEPT = 3  # made ones that a process keeps, as many as Spark's cache of models has
_MADE, _LOCK = OrderedDict(), threading.RLock()


@dataclass(frozen=True)
class Opened:
    """A source that was opened, and with which options.

    Its key tells it from the same source opened at another time, when it may have held another model.
    """

    open: Callable  # Predictor.open, Embedder.open
    source: str
    options: dict
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, open, source, **options):
        """The origin of what `open` makes of a source; a path is written out in full."""
        return cls(open, os.path.abspath(source) if Path(source).exists() else os.fspath(source), options)

    def packed(self, _=None):
        """The arguments of `made`."""
        return self.key, _open_again, (self,)


@dataclass(frozen=True)
class InMemory:
    """A model in memory."""

    build: Callable  # from the model and the options to a Predictor or an Embedder
    options: dict

    def packed(self, model):
        """The arguments of `made`, with the model as it is now."""
        with scratch_folder() as folder:
            model.save(folder / "model.keras")
            content = (folder / "model.keras").read_bytes()
        key = hashlib.sha256(content + pickle.dumps((self.build, self.options))).hexdigest()
        return key, _build_again, (self.build, content, self.options)


def reduced(predictor):
    """What `__reduce__` of a `Predictor` or an `Embedder` returns.

    Raises:
        ValueError: for one that `open` did not return, and that has no model in memory.
    """
    if predictor.origin is None:
        raise ValueError(
            f"{predictor.name} cannot be pickled: it runs a function that was given to it, or was changed after it was "
            "opened. Pickle what `open` returned, and change it where it arrives."
        )
    return made, predictor.origin.packed(predictor.model)


def made(key, make, arguments):
    """`make(*arguments)`, once per process and key; of earlier keys the last ones are kept."""
    with _LOCK:  # a second thread waits for the first one's
        if key not in _MADE:
            _MADE[key] = make(*arguments)
            while len(_MADE) > KEPT:
                _MADE.popitem(last=False)
        _MADE.move_to_end(key)
        return _MADE[key]


def _open_again(origin):
    try:
        found = origin.open(origin.source, **origin.options)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{origin.source} cannot be opened on {platform.node()}: {error} A predictor is pickled as its source. "
            "Give one that all machines see by this name: hf://owner/name, a model's name, or a path on a shared disk."
        ) from error
    object.__setattr__(found, "origin", origin)  # pickled from here, it is still the same
    return found


def _build_again(build, content, options):
    with scratch_folder() as folder:
        (folder / "model.keras").write_bytes(content)
        return build(model=load_keras_model(folder / "model.keras"), **options)
