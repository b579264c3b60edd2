"""Everything about a run that is decided before its first step: data, preprocessing, devices, steps, its folder."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vit.images.names import normalized
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import TEST_FOLDER, Run
from keras_vit.training.datasets.splits import NAME_IN_RUNS, DataSet, Split, fingerprint, write_images
from keras_vit.training.pipeline.batches import Prepared, prepare, training_batches
from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.pipeline.sizes import Sizes, sizes_of
from keras_vit.training.recipe import Recipe
from keras_vit.training.run import kept_images, logs
from keras_vit.training.step import distribute, model

FREE = (  # may change between a run and its continuation
    *("cache_megabytes", "data_dir", "recovery_interval", "recovery_minutes", "checkpoint_hist", "watchdog_minutes"),
    "worker_timeout",
)
DRY_RUN = "dry_run.png"  # the only file that may be in a folder before its run


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

    Nothing is written.
    """
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
        settings=settings,
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
    if all(name.startswith(".") or name == DRY_RUN for name in entries):
        return False
    earlier = logs.read_settings(folder)
    if earlier is None:
        raise ValueError(f"{folder} is not empty, and not a run folder: it has no args.yaml. Give another --output.")
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
    if split.are_files:
        Run.write_test_images(folder, zip(split.names, split.labels))


def describe(plan, details):
    """Write run.json, labels.txt and preprocessing.json; `details` go to run.json."""
    fed = {"input_values": "normalized"}  # by `preprocessing.normalize`, whatever the network does inside
    details = {"data": plan.data_set.name, "weights": plan.settings["weights"], **fed, **details}
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
