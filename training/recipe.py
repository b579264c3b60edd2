"""The settings of a training run, grouped into frozen dataclasses, and the recipes that come with the library.

Neither Keras nor TensorFlow is imported here, so that the command line lists settings and recipes without them.
"""

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from keras_vit.training.pipeline import sizes

DATASETS = ("digits", "folder", "records", "csv")


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Settings that are checked on construction. The string below a field is its help on the command line."""

    def __post_init__(self):
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(hint))}. Received: {getattr(self, name)!r}."
                    f"{_closest(str(getattr(self, name)), get_args(hint))}"
                )


@dataclass(frozen=True, kw_only=True)
class ModelSettings(_Group):
    """Which architecture is trained, from which weights, and what of it is frozen or dropped."""

    model: str
    """Name of a model, as `keras-vit list` prints them."""
    weights: str | None = None
    """Tag, weight file or run folder to start from; None trains from scratch."""
    img_size: tuple[int, int] | None = None
    """Height and width in pixels; None takes the last size of img_size_schedule, or else the size of the weights."""
    img_size_schedule: str | None = None
    """Sizes to train on, each with the fraction of the run at which it begins: "128@0,192@0.5,224@0.8", or 192x256 for
    height x width. The last is the run's own size."""
    multi_scale: str | None = None
    """Sizes of which every batch draws one: "192,224,256", or 192x256 for height x width. The run is validated and
    saved at img_size."""
    drop: float = 0.0
    """Dropout rate before the classifier."""
    drop_path: float = 0.0
    """Stochastic depth rate of the last block."""
    freeze_depth: int = 0
    """Freeze this many levels of depth, from the input up (`keras_vit.depth_groups`)."""
    linear_probe: bool = False
    """Train the classifier only."""

    def __post_init__(self):
        super().__post_init__()
        _at_least_zero(self, "freeze_depth")
        _below_one(self, "drop", "drop_path")
        sizes.check(self.img_size, self.img_size_schedule, self.multi_scale)
        if self.linear_probe and self.freeze_depth:
            raise ValueError("linear_probe freezes everything but the head. Give it or freeze_depth, not both.")


@dataclass(frozen=True, kw_only=True)
class DataSettings(_Group):
    """Where the images come from."""

    dataset: str = "digits"
    """"digits" (1,797 scans that scikit-learn carries), "folder" (class folders below data_dir), "records" (shards
    below data_dir, as `keras-vit prepare-data` writes them), "csv" (data_dir is the path of a manifest) or "tfds/NAME"
    (tensorflow-datasets, prepared below data_dir)."""
    data_dir: str | None = None
    """Folder of class folders, or of train/ and val/ (and test/) with class folders in each; or what `dataset` says."""
    train_split: str = "train"
    """Split of a tensorflow-datasets builder to train on."""
    val_split: str = "validation"
    """Split of a tensorflow-datasets builder that selects the checkpoint."""
    max_bad_fraction: float = 0.05
    """Images that cannot be decoded are replaced (skipped in evaluation) and listed, up to this fraction of a split."""
    cache_megabytes: int = 1024
    """Decoded images are kept in memory if they fit into this many MiB; otherwise they are decoded every epoch."""

    def __post_init__(self):
        super().__post_init__()
        _below_one(self, "max_bad_fraction")
        if self.dataset not in DATASETS and not self.dataset.startswith("tfds/"):
            raise ValueError(
                f"dataset must be one of {', '.join(DATASETS)} or tfds/NAME. Received: {self.dataset!r}."
                f"{_closest(self.dataset, DATASETS)}"
            )


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(_Group):
    """How long, in which batches and by which rule the weights are updated."""

    epochs: int = 30
    """Passes over the training split."""
    batch_size: int = 64
    """Images per update, over all devices and accumulated micro-batches."""
    grad_accum_steps: int = 1
    """Micro-batches over which a device accumulates the gradient of its share of a batch; more of them need less
    memory."""
    opt: Literal["adamw", "lamb", "sgd"] = "adamw"
    """The optimizer."""
    lr: float = 1e-3
    """Highest learning rate, at the end of the warm-up."""
    min_lr: float = 1e-6
    """Learning rate at the end of the cosine."""
    warmup_epochs: float = 1.0
    """Epochs in which the learning rate rises linearly; fractions are allowed."""
    weight_decay: float = 0.05
    """Decoupled from the gradient; only kernels decay: no norms, biases, tokens, position tables or layer scales."""
    opt_betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the moments of AdamW and Lamb."""
    momentum: float = 0.9
    """Nesterov momentum of SGD."""
    clip_grad: float | None = 1.0
    """Largest global norm of the gradient of an update; None for no limit."""
    layer_decay: float = 1.0
    """Layer-wise learning-rate decay: a factor per level of depth, so that lower layers learn more slowly
    (`keras_vit.depth_groups`)."""
    model_ema_decay: float | None = None
    """Decay of a moving average of the weights, which is then evaluated and saved in their place; None for no
    average."""
    smoothing: float = 0.1
    """Label smoothing."""

    def __post_init__(self):
        super().__post_init__()
        _above_zero(self, "epochs", "batch_size", "grad_accum_steps", "lr", "clip_grad", "layer_decay")
        _at_least_zero(self, "min_lr", "warmup_epochs", "weight_decay")
        _below_one(self, "smoothing", "momentum")
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs must not exceed epochs={self.epochs}. "
                f"Received: {self.warmup_epochs}; give fewer, or more epochs."
            )
        if self.model_ema_decay is not None and not 0 < self.model_ema_decay < 1:
            raise ValueError(f"model_ema_decay must lie between 0 and 1, or be None. Received: {self.model_ema_decay}.")


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(_Group):
    """Whether a teacher's output is part of the loss."""

    teacher: str | None = None
    """Run folder, .keras file, SavedModel or name of a published model to distil from."""
    distillation: Literal["none", "soft", "hard"] = "none"
    """DeiT's two forms (arXiv:2012.12877, Eq. 2 and 3)."""
    distillation_alpha: float = 0.5
    """Weight of the distillation term in the loss."""
    distillation_tau: float = 1.0
    """Temperature of soft distillation."""

    def __post_init__(self):
        super().__post_init__()
        _up_to_one(self, "distillation_alpha")
        _above_zero(self, "distillation_tau")
        if (self.teacher is None) != (self.distillation == "none"):
            raise ValueError(
                "teacher and distillation go together: give both, or neither. "
                f"Received: teacher={self.teacher!r}, distillation={self.distillation!r}."
            )


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(_Group):
    """How training images are changed. Fractions and probabilities are in [0, 1], angles in degrees."""

    shift: float = 0.0
    """Random shift, up to this fraction of the side."""
    rotate: float = 0.0
    """Random rotation, up to this many degrees either way."""
    zoom: float = 0.0
    """Random zoom, between 1 - zoom and 1 + zoom."""
    shear: float = 0.0
    """Random shear, up to this many degrees either way."""
    fill: Literal["reflect", "nearest", "black"] = "reflect"
    """What fills the area beyond the edge of a moved image."""
    scale: tuple[float, float] | None = None
    """Random resized crop: smallest and largest area, as fractions of the image's; None resizes and crops as in
    evaluation."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Random resized crop: smallest and largest width over height."""
    train_interpolation: Literal["bilinear", "bicubic", "random"] = "random"
    """Random resized crop: interpolation; "random" draws one of the two."""
    hflip: float = 0.0
    """Probability of a horizontal flip."""
    color_jitter: float = 0.0
    """Brightness, contrast and saturation change by up to this factor; ignored if `aa` is given."""
    aa: str | None = None
    """RandAugment in timm's notation: "rand-m9-n2-mstd0.5-inc1"."""
    reprob: float = 0.0
    """Probability of random erasing."""
    mixup: float = 0.0
    """MixUp: alpha of the Beta distribution; 0 for none."""
    cutmix: float = 0.0
    """CutMix: alpha of the Beta distribution; 0 for none."""
    mixup_prob: float = 1.0
    """Probability that a pair of images is mixed, if mixup or cutmix is above 0."""
    mixup_switch_prob: float = 0.5
    """Probability of CutMix if both are above 0."""
    aug_repeats: int = 1
    """Repeated augmentation: differently augmented copies of an image per batch."""

    def __post_init__(self):
        super().__post_init__()
        _above_zero(self, "aug_repeats")
        _at_least_zero(self, "rotate", "shear", "mixup", "cutmix", "color_jitter")
        _below_one(self, "shift", "zoom")
        _up_to_one(self, "hflip", "reprob", "mixup_prob", "mixup_switch_prob")
        for name in ("scale", "ratio"):
            limits = getattr(self, name)
            if limits is not None and not 0 < limits[0] <= limits[1]:
                raise ValueError(f"{name} must be a range above 0, the smaller value first. Received: {limits}.")
        if self.scale is not None and self.scale[1] > 1:
            raise ValueError(f"scale is a fraction of the image, at most 1. Received: {self.scale}.")


@dataclass(frozen=True, kw_only=True)
class RunSettings(_Group):
    """How a run computes, selects its best epoch, and is saved."""

    eval_metric: Literal["top1", "loss"] = "top1"
    """What selects the best epoch on the validation split: accuracy, ties broken by the loss, or the loss, which
    distinguishes more where that split is small."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """bfloat16 and float16 are mixed precision: weights stay float32. float16 scales the loss."""
    xla: bool = True
    """Compile the forward and backward pass with XLA on GPUs. CPUs run TensorFlow's graph, which is faster there."""
    deterministic: bool = False
    """Make TensorFlow use deterministic operations: the same bits every time."""
    seed: int = 0
    """Seed of the initial weights, the division into splits, the order of the images and their augmentation."""
    recovery_interval: int = 0
    """Updates between two checkpoints within an epoch; 0 for none by count."""
    recovery_minutes: float = 10.0
    """Minutes between two checkpoints within an epoch; 0 for none by time."""
    checkpoint_hist: int = 2
    """Checkpoints to keep for resuming, the newest."""
    watchdog_minutes: float = 15.0
    """After this long without an update the stacks of all threads are written to the run folder; 0 for never."""
    worker_timeout: float = 600.0
    """Seconds that a worker waits at the start for the others that TF_CONFIG lists, before it gives up."""

    def __post_init__(self):
        super().__post_init__()
        _above_zero(self, "checkpoint_hist", "worker_timeout")
        _at_least_zero(self, "recovery_interval", "recovery_minutes", "watchdog_minutes")

    def rank(self, row):
        """Sort key of a row of the history by `eval_metric`; the best epoch has the highest."""
        return (row["eval_top1"] if self.eval_metric == "top1" else 0.0, -row["eval_loss"])


GROUPS = {
    "model": ModelSettings,
    "data": DataSettings,
    "optimizer": OptimizerSettings,
    "distillation": DistillationSettings,
    "augmentation": AugmentationSettings,
    "run": RunSettings,
}


@dataclass(frozen=True, kw_only=True)
class Settings(  # dataclasses list the fields of the last base first: in the order of GROUPS
    RunSettings, AugmentationSettings, DistillationSettings, OptimizerSettings, DataSettings, ModelSettings
):
    """Every option of a run, named as in timm where timm has it."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """Settings, and an architecture that the registry does not have."""

    variant: Any = None
    """The recipe's own `Variant`, or an `OwnVariant`; used while `model` is its name."""

    def replace(self, **changes):
        """A copy with other values; an unknown name is a ValueError that suggests the closest."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"A recipe has no option {name!r}.{_closest(name, known)}")
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
        raise ValueError(f"There is no recipe {name!r}.{_closest(name, names())}")
    return importlib.import_module(f"keras_vit.training.recipes.{name}").RECIPE


def _closest(name, known):
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f" Closest: {', '.join(close)}."
    return f" Known: {', '.join(known)}."


def _above_zero(settings, *names):
    for name in names:
        value, kinds = getattr(settings, name), get_args(get_type_hints(type(settings))[name])
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0{', or None' if type(None) in kinds else ''}. Received: {value}.")


def _at_least_zero(settings, *names):
    for name in names:
        if getattr(settings, name) < 0:
            raise ValueError(f"{name} must not be negative. Received: {getattr(settings, name)}.")


def _below_one(settings, *names):
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name} must lie in [0, 1). Received: {getattr(settings, name)}.")


def _up_to_one(settings, *names):
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must lie in [0, 1]. Received: {getattr(settings, name)}.")
