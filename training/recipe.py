"""What a training run is made of: one frozen dataclass, and `load` for the recipes that come with the library."""

import dataclasses
import difflib
import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Every option of a run. Rates are in [0, 1], sizes in pixels, angles in degrees."""

    model: str
    """Name of a model of the zoo (`keras-vit list`)."""
    data: str = "digits"
    """"digits" (embedded, 1,797 scans) or "folder" (class folders below data_dir)."""
    data_dir: str | None = None
    """Folder of class folders, or of train/ and val/ (and test/) with class folders in each."""
    weights: str | None = None
    """Tag, or path of a weight file, to start from; None trains from scratch."""
    image_size: tuple[int, int] | None = None
    """Height and width; None takes the size that belongs to the weights."""

    epochs: int = 30
    batch_size: int = 64
    """Pictures per step, over all devices together."""
    learning_rate: float = 1e-3
    """The highest, at the end of the warm-up."""
    min_learning_rate: float = 1e-6
    """The last, at the end of the cosine."""
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    """Decoupled (AdamW); norms, biases, tokens, tables and gammas are left alone."""
    beta_2: float = 0.999
    """Decay of AdamW's second moment."""
    clip_norm: float | None = 1.0
    """Largest global norm of a step's gradient; None for no limit."""
    label_smoothing: float = 0.1
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    shift: float = 0.0
    """Random shift, up to this fraction of the side."""
    rotate: float = 0.0
    """Random rotation, up to this many degrees either way."""
    zoom: float = 0.0
    """Random zoom, between 1 - zoom and 1 + zoom."""
    shear: float = 0.0
    """Random shear, up to this many degrees either way."""
    flip: bool = False
    """Mirror half of the pictures left to right."""
    fill: str = "reflect"
    """What lies beyond the edge of a moved picture: "reflect", "nearest" or "black"."""

    precision: str = "float32"
    """"float32", or "bfloat16" for mixed precision (weights stay float32)."""
    xla: bool = True
    """Compile forward and backward pass with XLA."""
    deterministic: bool = False
    """Ask TensorFlow for operations that give the same bits every time."""
    seed: int = 0
    max_bad_fraction: float = 0.05
    """Pictures that cannot be decoded are named and skipped up to this fraction of a part."""
    cache_megabytes: int = 1024
    """Decoded pictures are kept in memory when they fit in this; else decoded every epoch."""

    def __post_init__(self):
        for check in (_check_choices, _check_positive, _check_rates):
            check(self)


@dataclass(frozen=True)
class Recipe(Settings):
    """Settings, and what cannot be typed."""

    variant: Any = None
    """The recipe's own architecture, of the name `model`; used as long as `model` keeps that name."""

    def replace(self, **changes):
        """A copy with other values; an unknown name is a ValueError that offers the closest."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"A recipe has no option {name!r}.{_closest(name, known)}")
        return dataclasses.replace(self, **changes)

    def settings(self):
        """The options as a dictionary of plain values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Settings)}


def names():
    """Names of the recipes that come with the library."""
    folder = Path(__file__).parent / "recipes"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]))


def load(name):
    """The recipe `name` of training/recipes/; ValueError with the closest names if there is none."""
    if name not in names():
        raise ValueError(f"There is no recipe {name!r}.{_closest(name, names())}")
    return importlib.import_module(f"keras_vit.training.recipes.{name}").RECIPE


def _closest(name, known):
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f" Closest: {', '.join(close)}."
    return f" Known: {', '.join(known)}."


def _check_choices(recipe):
    choices = {
        "data": ("digits", "folder"),
        "fill": ("reflect", "nearest", "black"),
        "precision": ("float32", "bfloat16"),
    }
    for name, allowed in choices.items():
        if getattr(recipe, name) not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}. Received: {getattr(recipe, name)!r}.")


def _check_positive(recipe):
    for name in ("epochs", "batch_size", "learning_rate"):
        if getattr(recipe, name) <= 0:
            raise ValueError(f"{name} must be above 0. Received: {getattr(recipe, name)}.")
    for name in ("min_learning_rate", "warmup_epochs", "weight_decay", "rotate", "shear"):
        if getattr(recipe, name) < 0:
            raise ValueError(f"{name} must not be negative. Received: {getattr(recipe, name)}.")
    if recipe.clip_norm is not None and recipe.clip_norm <= 0:
        raise ValueError(f"clip_norm must be above 0, or None. Received: {recipe.clip_norm}.")
    if recipe.warmup_epochs > recipe.epochs:
        raise ValueError(
            f"warmup_epochs must not exceed epochs={recipe.epochs}. "
            f"Received: {recipe.warmup_epochs}; give fewer, or more epochs."
        )


def _check_rates(recipe):
    rates = ("label_smoothing", "drop_rate", "drop_path_rate", "shift", "zoom", "max_bad_fraction")
    for name in rates:
        if not 0 <= getattr(recipe, name) < 1:
            raise ValueError(f"{name} must lie in [0, 1). Received: {getattr(recipe, name)}.")
