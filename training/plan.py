"""Everything about a run that is decided before its first step: data, preprocessing, devices, steps, its folder."""

import json
import math
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.images.names import normalized
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import TEST_FOLDER, Run
from keras_vit.training.datasets.class_weights import class_weights
from keras_vit.training.datasets.splits import NAME_IN_RUNS, DataSet, Split, fingerprint, write_images
from keras_vit.training.pipeline.batches import Prepared, prepare, training_batches
from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.pipeline.sizes import Sizes, sizes_of
from keras_vit.training.recipe import Recipe
from keras_vit.training.run import kept_images, logs
from keras_vit.training.settings import Settings
from keras_vit.training.step import distribute, model
from keras_vit.training.step.losses import loss_name

FREE = (  # may change between a run and its continuation
    *("cache_megabytes", "data_dir", "data_cache", "data_cache_gb"),
    *("recovery_interval", "recovery_minutes", "checkpoint_hist", "watchdog_minutes"),
    *("cluster", "hosts", "worker_port", "worker_timeout", "worker_silence"),
    *("early_stopping", "log", "average_hist"),
    *("memory_gigabytes", "micro_batches"),
)
DEFAULTS = {
    field.name: json.loads(json.dumps(field.default)) for field in fields(Settings) if field.default is not MISSING
}
MICRO_BATCHES = "micro_batches"  # what grad_accum_steps="auto" found
DRY_RUN = "dry_run.png"
LR_FINDER = "lr_finder.png", "lr_finder.csv"
BEFORE = (DRY_RUN, *LR_FINDER)  # the only files that may be in a folder before its run


@dataclass(frozen=True)
class Plan:
    """A run as it will be carried out. Created once, by `make`, and not altered afterwards."""

    recipe: Recipe
    folder: Path
    data_set: DataSet
    spec: Spec
    sizes: Sizes  # of the training images, step by step
    train: Prepared  # at the run's own size
    validation: Prepared
    strategy: Any
    worker: Worker
    batch_size: int  # images of an update, over all workers, replicas and micro-batches
    compiled: bool  # whether XLA compiles training and evaluation
    class_weights: Any  # float32 (K,) of the classes in the loss, or None
    settings: dict

    @property
    def chief(self):
        """Whether this worker writes the run folder; the others write only the report of their own watchdog."""
        return self.worker.index == 0

    @property
    def stalled(self):
        """The file of the watchdog."""
        return self.folder / ("stalled.txt" if self.chief else f"stalled-{self.worker.index}.txt")

    @property
    def eval_batch_size(self):
        """Images of an evaluation step, over all workers: as many per device as in a micro-batch of training."""
        return self.batch_size // self.recipe.grad_accum_steps

    @property
    def steps(self):
        """Steps per epoch; the images that do not fill a batch are left out, others in each epoch."""
        return len(self.train.split) // self.batch_size

    @property
    def test(self):
        """The test split as the run folder has it: what is in memory, or small in total, lies in held_out/ as files."""
        split = self.data_set.test
        if split.encoded is None:
            return kept_images.kept(split, self.folder)
        return Split(tuple(str(self.folder / TEST_FOLDER / name) for name in split.names), split.labels)

    @property
    def labels(self):
        """What the loss has to know of the labels, as `losses.Objective` takes it."""
        return {"class_weights": self.class_weights, "multi_label": self.data_set.multi_label}

    @property
    def adapter(self):
        """What the adapter of a run with lora_rank says of itself, as `keras_vit.models.adapters` has it."""
        rank, alpha = self.recipe.lora_rank, self.recipe.lora_alpha
        of = {"model": self.settings["model"], "weights": self.settings["weights"]}
        return {**of, "classes": list(self.data_set.classes), "rank": rank, "alpha": rank if alpha is None else alpha}

    @property
    def quarantines(self):
        """{split: `Quarantine`} of the splits that are read repeatedly."""
        return {"train": self.train.quarantine, "validation": self.validation.quarantine}

    @property
    def bad(self):
        """(split, file, reason) of the images that cannot be decoded."""
        splits = (("train", self.train.replaced), ("validation", self.validation.bad))
        return [(name, *entry) for name, entries in splits for entry in entries]

    def training_batches(self, start, size):
        """This worker's training batches of the steps that have a size (H, W), from step `start` on."""
        chosen = None if self.sizes.trained == (size,) else self.sizes.steps(size)
        return training_batches(self.train.at(size), self.recipe, self.batch_size, start, self.worker, chosen)

    def check_images(self):
        """Raise TooManyBadImages if more images than `max_bad_fraction` could not be decoded."""
        for quarantine in self.quarantines.values():
            quarantine.check()


def make(recipe, folder, data_set, spec, settings, strategy):
    """Decide what the recipe leaves open: batch size, XLA, this worker's share. Decodes the images that are cached.

    Nothing is written. For grad_accum_steps="auto" it is the plan with one micro-batch, see `micro_batches.fitted`.
    """
    if recipe.grad_accum_steps == "auto":
        recipe = recipe.replace(grad_accum_steps=1)
    refuse_unfitting(recipe, data_set.multi_label)
    limits = {"max_bad_fraction": recipe.max_bad_fraction}
    cache_bytes = recipe.cache_megabytes * 2**20
    batch_size = choose_batch_size(recipe, len(data_set.train), strategy.num_replicas_in_sync)
    sizes = sizes_of(recipe, spec.size, len(data_set.train) // batch_size)
    train = prepare(data_set.train, spec, cache_bytes=0 if recipe.scale else sizes.share(cache_bytes), **limits)
    validation = prepare(data_set.validation, spec, cache_bytes=cache_bytes, **limits)
    return Plan(
        recipe=recipe,
        folder=folder,
        data_set=data_set,
        spec=spec,
        sizes=sizes,
        train=train,
        validation=validation,
        strategy=strategy,
        worker=distribute.worker_of(strategy),
        batch_size=batch_size,
        compiled=model.compiles(recipe),
        class_weights=class_weights(recipe, data_set),
        settings=settings,
    )


def with_micro_batches(plan, count):
    """The plan with another number of micro-batches per device, which its settings note as `micro_batches`.

    Raises:
        ValueError: if the batch cannot be divided so.
    """
    recipe, images = plan.recipe.replace(grad_accum_steps=count), len(plan.data_set.train)
    batch_size = choose_batch_size(recipe, images, plan.strategy.num_replicas_in_sync)
    return replace(
        plan,
        recipe=recipe,
        batch_size=batch_size,
        sizes=sizes_of(recipe, plan.spec.size, images // batch_size),
        settings=plan.settings | {MICRO_BATCHES: count},
    )


def noted_micro_batches(plan):
    """The number that the run noted when it began; None for a new run."""
    return (logs.read_settings(plan.folder) or {}).get(MICRO_BATCHES)


def refuse_unfitting(recipe, multi_label):
    """Raise a ValueError for settings that do not fit images with one label each, or with several."""
    loss_name(recipe, multi_label)
    if multi_label and recipe.teacher is not None:
        raise ValueError("A teacher's classes exclude each other; there is no distillation of several labels.")
    if not multi_label and recipe.eval_metric in ("map", "micro_f1"):
        raise ValueError(
            f"eval_metric={recipe.eval_metric} is for images with several labels. Give top1, loss, "
            "balanced_accuracy or macro_f1."
        )
    if multi_label and recipe.eval_metric == "balanced_accuracy":
        raise ValueError(
            "eval_metric=balanced_accuracy is for images with one label each. Give map, loss, micro_f1 or macro_f1."
        )


def choose_batch_size(recipe, images, replicas):
    """The recipe's batch size, or less if there are fewer images; a multiple of devices x micro-batches."""
    shares = replicas * recipe.grad_accum_steps
    if recipe.batch_size % shares:
        raise ValueError(
            f"batch_size counts the images of a step over all devices and accumulated steps, and must be a multiple "
            f"of {shares}. Received: batch_size={recipe.batch_size}, {replicas} devices, "
            f"grad_accum_steps={recipe.grad_accum_steps}."
        )
    if images >= recipe.batch_size:
        return recipe.batch_size
    pairs = 2 if recipe.mixup or recipe.cutmix else 1
    unit = math.lcm(shares * pairs, recipe.aug_repeats)
    if images < unit:
        raise ValueError(f"{images} training images are too few for {replicas} devices: expected {unit} at least.")
    return images - images % unit


def settings_of(recipe, data_set, spec):
    """What identifies a run, as plain values: the options, the architecture, the data."""
    variant, weights = model.find(recipe)
    settings = json.loads(json.dumps(recipe.settings()))  # tuples as lists, as they are read from args.yaml
    return settings | {
        "model": variant.name,
        "weights": weights,
        "architecture": str(getattr(variant, "config", "")),
        "preprocessing": spec.to_json(),
        "classes": list(data_set.classes),
        "pictures": {NAME_IN_RUNS[name]: len(split) for name, split in data_set.splits().items()},
        "data_sha256": fingerprint(data_set, recipe.data_dir),
    }


def check_folder(folder, settings):
    """Whether `folder` holds this run, to be resumed; False if it is new or empty.

    Raises:
        ValueError: if it holds another run or other files.
    """
    entries = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    if all(name.startswith(".") or name in BEFORE for name in entries):
        return False
    earlier = logs.read_settings(folder)
    if earlier is None:
        raise ValueError(f"{folder} is not empty, and not a run folder: it has no args.yaml. Give another --output.")
    earlier = DEFAULTS | earlier  # a setting that an earlier version did not have
    names = [name for name in settings | earlier if name not in FREE]
    differing = [
        f"  {name}: {_shortened(earlier, name)} in the folder, {_shortened(settings, name)} now"
        for name in names
        if _comparable(earlier.get(name)) != _comparable(settings.get(name))
    ]
    if differing:
        listed = "\n".join(differing)
        raise ValueError(
            f"{folder} holds a run of another configuration:\n{listed}\n"
            "Give another --output, or the same configuration to continue that run."
        )
    return True


def write_folder(plan):
    """Write the files of the run folder that are known before training."""
    logs.write_settings(plan.folder, plan.settings)  # first: it marks the folder as this run's
    write_images(plan.data_set.test, plan.folder / TEST_FOLDER)
    kept_images.keep(plan.data_set.test, plan.folder)
    write_test_images(plan.folder, plan.test)
    logs.write_bad_files(plan.folder, plan.bad)
    describe(plan, {"finished": False})


def write_test_images(folder, split):
    """Write held_out.csv, unless the images are not files: those in shards are not copied out of them."""
    labels = [tuple(np.flatnonzero(label)) for label in split.labels] if split.multi_label else split.labels
    if split.are_files:
        Run.write_test_images(folder, zip(split.names, labels))


def describe(plan, details):
    """Write run.json, labels.txt and preprocessing.json; `details` go to run.json."""
    fed = {"input_values": "normalized"}  # by `preprocessing.normalize`, whatever the network does inside
    several = {"multi_label": True} if plan.data_set.multi_label else {}
    details = {"data": plan.data_set.name, "weights": plan.settings["weights"], **fed, **several, **details}
    Run.write_description(
        plan.folder,
        name=_run_name(plan.folder),
        model_name=plan.settings["model"],
        labels=plan.data_set.classes,
        spec=plan.spec,
        details=details,
    )


def _run_name(folder):
    """The folder's name, with - for characters that a run's name cannot have."""
    name = "".join(c if c.isalnum() or c in "_-." else "-" for c in folder.absolute().name)
    return name.strip("-.") or "run"


def _comparable(value):
    """A setting's value; names of classes in one form of Unicode, which earlier runs wrote as the folders had them."""
    return [normalized(v) if isinstance(v, str) else v for v in value] if isinstance(value, list) else value


def _shortened(settings, name):
    text = json.dumps(settings.get(name))
    return text if len(text) <= 120 else text[:117] + "..."
