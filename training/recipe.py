"""What a training run is made of: one frozen dataclass, and `load` for the recipes that come with the library."""

import dataclasses
import difflib
import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

DATASETS = ("digits", "folder", "records", "csv")


@dataclass(frozen=True)
class Settings:
    """Every option of a run, by timm's name where timm has it.

    Rates and fractions are in [0, 1], sizes in pixels, angles in degrees.
    """

    model: str
    """Name of a model of the zoo (`keras-vit list`)."""
    dataset: str = "digits"
    """"digits" (embedded, 1,797 scans), "folder" (class folders below data_dir), "records" (shards below data_dir, as
    `keras-vit prepare-data` writes them), "csv" (a manifest, data_dir its path) or "tfds/NAME" (tensorflow-datasets,
    prepared below data_dir)."""
    data_dir: str | None = None
    """Folder of class folders, or of train/ and val/ (and test/) with class folders in each; or what `dataset` says."""
    train_split: str = "train"
    """Split of a tensorflow-datasets builder to train on."""
    val_split: str = "validation"
    """Split of a tensorflow-datasets builder that chooses the checkpoint."""
    weights: str | None = None
    """Tag, or path of a weight file or of a run folder, to start from; None trains from scratch."""
    img_size: tuple[int, int] | None = None
    """Height and width; None takes the size that belongs to the weights."""

    epochs: int = 30
    batch_size: int = 64
    """Pictures per update, over all devices and accumulated steps together."""
    grad_accum_steps: int = 1
    """Parts in which a device works off its share of a batch, for batches that do not fit into its memory."""
    opt: Literal["adamw", "lamb", "sgd"] = "adamw"
    lr: float = 1e-3
    """The highest learning rate, at the end of the warm-up."""
    min_lr: float = 1e-6
    """The last, at the end of the cosine."""
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    """Decoupled from the gradient; norms, biases, tokens, tables and gammas are left alone."""
    opt_betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the moments of AdamW and Lamb."""
    momentum: float = 0.9
    """Nesterov's, of SGD."""
    clip_grad: float | None = 1.0
    """Largest global norm of an update's gradient; None for no limit."""
    layer_decay: float = 1.0
    """Factor on the learning rate per level of depth, from the head down (`keras_vit.depth_groups`)."""
    model_ema_decay: float | None = None
    """Decay of a moving average of the weights, which is then what is judged and kept; None for none."""
    smoothing: float = 0.1
    """Label smoothing."""
    drop: float = 0.0
    """Rate of the dropout before the classifier."""
    drop_path: float = 0.0
    """Stochastic depth of the last block."""

    teacher: str | None = None
    """Run folder, .keras file, SavedModel or name of the zoo (with weights) to distil from."""
    distillation: Literal["none", "soft", "hard"] = "none"
    """DeiT's two forms (arXiv:2012.12877, Eq. 2 and 3)."""
    distillation_alpha: float = 0.5
    """Weight of the teacher's part of the loss."""
    distillation_tau: float = 1.0
    """Temperature of soft distillation."""
    freeze_depth: int = 0
    """The first so many levels of depth keep their weights (`keras_vit.depth_groups`)."""
    linear_probe: bool = False
    """Train the head only."""

    shift: float = 0.0
    """Random shift, up to this fraction of the side."""
    rotate: float = 0.0
    """Random rotation, up to this many degrees either way."""
    zoom: float = 0.0
    """Random zoom, between 1 - zoom and 1 + zoom."""
    shear: float = 0.0
    """Random shear, up to this many degrees either way."""
    fill: Literal["reflect", "nearest", "black"] = "reflect"
    """What lies beyond the edge of a moved picture."""
    scale: tuple[float, float] | None = None
    """Random resized crop: its area, as a fraction of the picture's, from and to; None resizes and crops as evaluation
    does."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Random resized crop: its width over its height, from and to."""
    train_interpolation: Literal["bilinear", "bicubic", "random"] = "random"
    """Random resized crop: how it is resized; random takes either."""
    hflip: float = 0.0
    """Chance of being mirrored left to right."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation change by up to this factor; not where `aa` is given."""
    aa: str | None = None
    """RandAugment, written as timm does: "rand-m9-n2-mstd0.5-inc1"."""
    reprob: float = 0.0
    """Chance of random erasing."""
    mixup: float = 0.0
    """MixUp: alpha of the Beta distribution; 0 for none."""
    cutmix: float = 0.0
    """CutMix: alpha of the Beta distribution; 0 for none."""
    mixup_prob: float = 1.0
    """Chance that a pair of pictures is mixed at all, where mixup or cutmix is above 0."""
    mixup_switch_prob: float = 0.5
    """Chance of CutMix where both are above 0."""
    aug_repeats: int = 1
    """Repeated augmentation: so many differently augmented copies of a picture per batch."""

    eval_metric: Literal["top1", "loss"] = "top1"
    """What chooses the best epoch on the validation part: accuracy, the loss deciding where it is equal, or the loss,
    which tells more where that part is small."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Other than float32 is mixed precision (weights stay float32); float16 scales its loss."""
    xla: bool = True
    """Compile forward and backward pass with XLA on GPUs; on CPUs TensorFlow's graph is faster, and is taken."""
    deterministic: bool = False
    """Ask TensorFlow for operations that give the same bits every time."""
    seed: int = 0
    max_bad_fraction: float = 0.05
    """Pictures that cannot be decoded are named and replaced (when judging: skipped) up to this fraction of a part."""
    cache_megabytes: int = 1024
    """Decoded pictures are kept in memory when they fit in this; else decoded every epoch."""
    recovery_interval: int = 0
    """Updates between two checkpoints within an epoch; 0 for none by count."""
    recovery_minutes: float = 10.0
    """Minutes between two checkpoints within an epoch; 0 for none by time."""
    checkpoint_hist: int = 2
    """Checkpoints kept to continue from, the newest."""
    watchdog_minutes: float = 15.0
    """After so long without a step the stacks of all threads are written to the run folder; 0 for never."""

    def rank(self, row):
        """The higher, the better: the key of a row of the history by `eval_metric`."""
        return (row["eval_top1"] if self.eval_metric == "top1" else 0.0, -row["eval_loss"])

    def __post_init__(self):
        for check in (_check_choices, _check_positive, _check_rates, _check_ranges, _check_distillation):
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
    for name, hint in get_type_hints(Settings).items():
        if get_origin(hint) is Literal and getattr(recipe, name) not in get_args(hint):
            raise ValueError(
                f"{name} must be one of {', '.join(get_args(hint))}. Received: {getattr(recipe, name)!r}."
                f"{_closest(str(getattr(recipe, name)), get_args(hint))}"
            )
    if recipe.dataset not in DATASETS and not recipe.dataset.startswith("tfds/"):
        raise ValueError(
            f"dataset must be one of {', '.join(DATASETS)} or tfds/NAME. Received: {recipe.dataset!r}."
            f"{_closest(recipe.dataset, DATASETS)}"
        )


def _check_positive(recipe):
    for name in ("epochs", "batch_size", "grad_accum_steps", "lr", "aug_repeats", "checkpoint_hist"):
        if getattr(recipe, name) <= 0:
            raise ValueError(f"{name} must be above 0. Received: {getattr(recipe, name)}.")
    for name in (
        *("min_lr", "warmup_epochs", "weight_decay", "rotate", "shear", "mixup", "cutmix", "color_jitter"),
        *("freeze_depth", "recovery_interval", "recovery_minutes", "watchdog_minutes"),
    ):
        if getattr(recipe, name) < 0:
            raise ValueError(f"{name} must not be negative. Received: {getattr(recipe, name)}.")
    for name in ("clip_grad", "layer_decay", "distillation_tau"):
        if getattr(recipe, name) is not None and getattr(recipe, name) <= 0:
            none = ", or None" if name == "clip_grad" else ""
            raise ValueError(f"{name} must be above 0{none}. Received: {getattr(recipe, name)}.")
    if recipe.warmup_epochs > recipe.epochs:
        raise ValueError(
            f"warmup_epochs must not exceed epochs={recipe.epochs}. "
            f"Received: {recipe.warmup_epochs}; give fewer, or more epochs."
        )


def _check_rates(recipe):
    for name in ("smoothing", "drop", "drop_path", "shift", "zoom", "max_bad_fraction", "momentum"):
        if not 0 <= getattr(recipe, name) < 1:
            raise ValueError(f"{name} must lie in [0, 1). Received: {getattr(recipe, name)}.")
    for name in ("hflip", "reprob", "mixup_prob", "mixup_switch_prob", "distillation_alpha"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ValueError(f"{name} must lie in [0, 1]. Received: {getattr(recipe, name)}.")
    if recipe.model_ema_decay is not None and not 0 < recipe.model_ema_decay < 1:
        raise ValueError(f"model_ema_decay must lie between 0 and 1, or be None. Received: {recipe.model_ema_decay}.")


def _check_ranges(recipe):
    for name in ("scale", "ratio"):
        limits = getattr(recipe, name)
        if limits is not None and not 0 < limits[0] <= limits[1]:
            raise ValueError(f"{name} must be a range above 0, the smaller value first. Received: {limits}.")
    if recipe.scale is not None and recipe.scale[1] > 1:
        raise ValueError(f"scale is a fraction of the picture, at most 1. Received: {recipe.scale}.")


def _check_distillation(recipe):
    if (recipe.teacher is None) != (recipe.distillation == "none"):
        raise ValueError(
            "teacher and distillation go together: give both, or neither. "
            f"Received: teacher={recipe.teacher!r}, distillation={recipe.distillation!r}."
        )
    if recipe.linear_probe and recipe.freeze_depth:
        raise ValueError("linear_probe freezes everything but the head. Give it or freeze_depth, not both.")
