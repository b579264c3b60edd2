"""Everything about a run that is settled before its first step: data, preprocessing, devices, steps, its folder."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vit.preprocessing import Spec
from keras_vit.runs import Run
from keras_vit.training import data, devices, logs, model
from keras_vit.training.order import Worker
from keras_vit.training.parts import DataSet, fingerprint, write_pictures
from keras_vit.training.recipe import Recipe

FREE = (  # may change between a run and its continuation
    *("cache_megabytes", "data_dir", "recovery_interval", "recovery_minutes", "checkpoint_hist", "watchdog_minutes"),
)
DRY_RUN = "dry_run.png"  # may lie in a folder before its run


@dataclass(frozen=True)
class Plan:
    """A run, decided."""

    recipe: Recipe
    folder: Path
    data_set: DataSet
    spec: Spec
    train: data.Prepared
    val: data.Prepared
    strategy: Any
    worker: Worker
    batch_size: int  # over all workers, replicas and accumulated steps
    settings: dict

    @property
    def chief(self):
        """Whether this worker writes the run folder; the others write nothing but what they find stalled."""
        return self.worker.index == 0

    @property
    def stalled(self):
        """The file of the watchdog."""
        return self.folder / ("stalled.txt" if self.chief else f"stalled-{self.worker.index}.txt")

    @property
    def eval_batch_size(self):
        """Pictures that are judged at once, over all workers: as many per device as it trains on at once."""
        return self.batch_size // self.recipe.grad_accum_steps

    @property
    def steps(self):
        """Steps per epoch; what does not fill a batch waits for another epoch's order."""
        return len(self.train.part) // self.batch_size

    @property
    def quarantines(self):
        """{part: `Quarantine`} of what is read again and again."""
        return {"train": self.train.quarantine, "val": self.val.quarantine}

    @property
    def bad(self):
        """(part, file, reason) of the pictures that cannot be decoded."""
        parts = (("train", self.train.replaced), ("val", self.val.bad))
        return [(name, *entry) for name, entries in parts for entry in entries]

    def check_pictures(self):
        """Raises: BadPictures if too many were met that cannot be decoded."""
        for quarantine in self.quarantines.values():
            quarantine.check()


def make(recipe, folder, data_set, spec, settings, strategy):
    """Decode what is cached, and choose the batch size. Nothing is written."""
    cache = recipe.cache_megabytes * 2**20
    bad = recipe.max_bad_fraction
    train = data.prepare(data_set.train, spec, max_bad_fraction=bad, cache_bytes=0 if recipe.scale else cache)
    val = data.prepare(data_set.val, spec, max_bad_fraction=bad, cache_bytes=cache)
    batch_size = choose_batch_size(recipe, len(train.part), strategy.num_replicas_in_sync)
    worker = devices.worker_of(strategy)
    return Plan(recipe, folder, data_set, spec, train, val, strategy, worker, batch_size, settings)


def choose_batch_size(recipe, pictures, replicas):
    """The recipe's batch size, or less where there are fewer pictures; it can be divided among devices and parts."""
    shares = replicas * recipe.grad_accum_steps
    if recipe.batch_size % shares:
        raise ValueError(
            f"batch_size counts the pictures of a step over all devices and accumulated steps, and must be a multiple "
            f"of {shares}. Received: batch_size={recipe.batch_size}, {replicas} devices, "
            f"grad_accum_steps={recipe.grad_accum_steps}."
        )
    if pictures >= recipe.batch_size:
        return recipe.batch_size
    pairs = 2 if recipe.mixup or recipe.cutmix else 1
    unit = math.lcm(shares * pairs, recipe.aug_repeats)
    if pictures < unit:
        raise ValueError(f"{pictures} training pictures are too few for {replicas} devices: expected {unit} at least.")
    return pictures - pictures % unit


def settings_of(recipe, data_set, spec):
    """What identifies a run, as plain values: the options, the architecture, the data."""
    variant, weights = model.find(recipe)
    settings = json.loads(json.dumps(recipe.settings()))  # tuples as lists, as args.yaml gives them back
    return settings | {
        "model": variant.name,
        "weights": weights,
        "architecture": str(getattr(variant, "config", "")),
        "preprocessing": spec.to_json(),
        "classes": list(data_set.classes),
        "pictures": {name: len(part) for name, part in data_set.parts().items()},
        "data_sha256": fingerprint(data_set, recipe.data_dir),
    }


def check_folder(folder, settings):
    """Whether `folder` holds a run to be continued; ValueError if it holds anything else than this run."""
    entries = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    if all(name.startswith(".") or name == DRY_RUN for name in entries):
        return False
    earlier = logs.read_settings(folder)
    if earlier is None:
        raise ValueError(f"{folder} is not empty, and not a run folder: it has no args.yaml. Give another --output.")
    names = [name for name in settings | earlier if name not in FREE]
    differing = [
        f"  {name}: {_text(earlier, name)} in the folder, {_text(settings, name)} now"
        for name in names
        if earlier.get(name) != settings.get(name)
    ]
    if differing:
        listed = "\n".join(differing)
        raise ValueError(
            f"{folder} holds a run of another configuration:\n{listed}\n"
            "Give another --output, or the same configuration to continue that run."
        )
    return True


def write_folder(plan):
    """The parts of the run folder that are known before training."""
    folder = plan.folder
    logs.write_settings(folder, plan.settings)  # first: by it the folder is known as this run's
    held_out = write_pictures(plan.data_set.held_out, folder / "held_out")
    write_held_out(folder, held_out)
    logs.write_bad_files(folder, plan.bad)
    describe(plan, {"finished": False})
    return dataclasses.replace(plan, data_set=dataclasses.replace(plan.data_set, held_out=held_out))


def write_held_out(folder, part):
    """held_out.csv; none where the pictures are no files, as in shards, which are not copied out of them."""
    if part.are_files:
        Run.write_held_out(folder, zip(part.names, part.labels))


def describe(plan, details):
    """run.json, labels.txt and preprocessing.json; `details` go to run.json."""
    details = {"data": plan.data_set.name, "weights": plan.settings["weights"], **details}
    Run.write_description(
        plan.folder,
        name=_run_name(plan.folder),
        model_name=plan.settings["model"],
        labels=plan.data_set.classes,
        spec=plan.spec,
        details=details,
    )


def _run_name(folder):
    """The folder's name, with a - for what a run's name may not have."""
    name = "".join(c if c.isalnum() or c in "_-." else "-" for c in folder.absolute().name)
    return name.strip("-.") or "run"


def _text(settings, name):
    text = json.dumps(settings.get(name))
    return text if len(text) <= 120 else text[:117] + "..."
