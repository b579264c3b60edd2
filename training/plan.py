"""Everything about a run that is settled before its first step: data, preprocessing, devices, steps, its folder."""

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vit.preprocessing import Spec
from keras_vit.runs import Run
from keras_vit.training import data, logs, model
from keras_vit.training.parts import DataSet, fingerprint, write_pictures
from keras_vit.training.recipe import Recipe

FREE = ("cache_megabytes", "data_dir")  # may change between a run and its continuation


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
    batch_size: int  # over all replicas
    settings: dict

    @property
    def steps(self):
        """Steps per epoch; what does not fill a batch waits for another epoch's order."""
        return len(self.train.part) // self.batch_size

    @property
    def bad(self):
        """(part, file, reason) of the pictures that cannot be decoded."""
        parts = (("train", self.train.replaced), ("val", self.val.bad))
        return [(name, *entry) for name, entries in parts for entry in entries]


def make(recipe, folder, data_set, spec, settings):
    """Decode what is cached, choose the devices and the batch size. Nothing is written."""
    cache = recipe.cache_megabytes * 2**20
    bad = recipe.max_bad_fraction
    train = data.prepare(data_set.train, spec, max_bad_fraction=bad, cache_bytes=0 if recipe.scale else cache)
    val = data.prepare(data_set.val, spec, max_bad_fraction=bad, cache_bytes=cache)
    strategy = make_strategy()
    batch_size = choose_batch_size(recipe, len(train.part), strategy.num_replicas_in_sync)
    return Plan(recipe, folder, data_set, spec, train, val, strategy, batch_size, settings)


def make_strategy():
    """MirroredStrategy over the GPUs of this machine, or its logical CPU devices where there is no GPU."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _strategy_over(tuple(device.name for device in devices))


@functools.cache
def _strategy_over(devices):
    """One strategy per process: a second over the same devices would number its reductions from the start again.

    TensorFlow 2.21 then takes them for those of the first and fails with "Shape mismatch in the collective instance".
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def choose_batch_size(recipe, pictures, replicas):
    """The recipe's batch size, or less where there are fewer pictures; a multiple of the replicas."""
    if recipe.batch_size % replicas:
        raise ValueError(
            f"batch_size counts the pictures of a step over all devices, and must be a multiple of "
            f"their number. Received: batch_size={recipe.batch_size}, {replicas} devices."
        )
    if pictures < replicas:
        raise ValueError(f"{pictures} training pictures are too few for {replicas} devices.")
    return min(recipe.batch_size, pictures - pictures % replicas)


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
    if not folder.exists() or all(entry.name.startswith(".") for entry in folder.iterdir()):
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
