"""Recipes: settings with a purpose, some with an architecture of their own; those that come with the library.

Neither Keras nor TensorFlow is imported here, so that the command line lists recipes without them.
"""

import dataclasses
import functools
import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vit.training.setting_checks import closest
from keras_vit.training.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """Settings, and an architecture that the registry does not have."""

    variant: Any = None
    """The recipe's own `Variant`, or an `OwnVariant`; used while `model` is its name."""

    def replace(self, **changes):
        """A copy with other values; an unknown name is a ValueError that suggests the closest.

        batch_size="auto" keeps the batch size, and is grad_accum_steps="auto".
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"A recipe has no option {name!r}.{closest(name, known)}")
        if changes.get("batch_size") == "auto":
            steps = changes.get("grad_accum_steps", self.grad_accum_steps)
            if steps not in (1, "auto", self.grad_accum_steps):
                raise ValueError(f"batch_size='auto' chooses grad_accum_steps. Give one of them. Received: {steps}.")
            changes |= {"batch_size": self.batch_size, "grad_accum_steps": "auto"}
        return dataclasses.replace(self, **changes)

    def settings(self):
        """The options as a dictionary of plain values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Settings)}


class OwnVariant:
    """Stands for a recipe's own `Variant` and builds it at its first use, so that the recipe is loaded without Keras.

    Args:
        make: function that imports the architecture and returns the `Variant`.
    """

    def __init__(self, make):
        self._make = functools.cache(make)

    def __call__(self, **arguments):
        return self._make()(**arguments)

    def __getattr__(self, name):
        if name == "_make":  # while it is unpickled
            raise AttributeError(name)
        return getattr(self._make(), name)


def names():
    """Names of the recipes that come with the library."""
    folder = Path(__file__).parent / "recipes"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]))


def load(name):
    """The recipe `name` of training/recipes/; ValueError with the closest names if it does not exist."""
    if name not in names():
        raise ValueError(f"There is no recipe {name!r}.{closest(name, names())}")
    return importlib.import_module(f"keras_vit.training.recipes.{name}").RECIPE
