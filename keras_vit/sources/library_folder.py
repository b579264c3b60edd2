"""Folders of transformers and timm, read without Keras: which model, its labels, its preprocessing, its weights' file.

    transformers    config.json with `model_type`, preprocessor_config.json; what `save_pretrained` writes
    timm            config.json with `architecture`; what `timm.models.save_for_hf` writes

What becomes of config.json's sizes is in `keras_vit.models.library_config`.
"""

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

from keras_vit.imagenet.labels import imagenet_labels
from keras_vit.sources.hub import CONFIG, LIBRARY_WEIGHTS, PREPROCESSOR
from keras_vit.sources.library_preprocessing import timm_spec, transformers_spec
from keras_vit.system import bounded_json
from keras_vit.system.limits import MAX_CONFIG
from keras_vit.weights import readers
from keras_vit.weights.entries import WeightFileError, damaged, reading, refused

LIBRARIES = ("transformers", "timm")
UNREADABLE = ("flax_model.msgpack", "model.onnx", "model.bin", "tf_model.ckpt.index")  # weights in forms not read here
CLASSIFIER = "ForImageClassification"  # what transformers' classes with a classifier are called


@dataclass(frozen=True)
class LibraryFolder:
    """An opened folder: its config.json, and what follows from it."""

    path: Path
    library: str  # of LIBRARIES
    name: str  # transformers' class, "ViTForImageClassification", or timm's architecture; errors call it so
    entries: Mapping  # config.json

    @property
    def config(self):
        """The path of config.json."""
        return self.path / CONFIG

    @property
    def weights(self):
        """The path of the weights: a file, or the index of its shards.

        Raises:
            ValueError: where there are none that are read here.
        """
        found = next((self.path / name for name in LIBRARY_WEIGHTS if (self.path / name).is_file()), None)
        if found is None:
            there = [name for name in UNREADABLE if (self.path / name).is_file()]
            other = f" It has {', '.join(there)}, which is not read here: save it again from its library." * bool(there)
            raise WeightFileError(
                f"{self.path} has the {CONFIG} of {self.name}, and no weights. Expected one of "
                f"{', '.join(LIBRARY_WEIGHTS)}.{other}"
            )
        return found

    @property
    def classes(self):
        """The number of classes that config.json states; 0 for a model without a classifier, None if it is silent."""
        if self.library == "timm":
            return self._count("num_classes")
        if CLASSIFIER not in self.name:
            return 0
        return len(self.labels) if self.labels is not None else self._count("num_labels")

    @property
    def stated_size(self):
        """The image size as config.json has it: a number, [H, W] or [C, H, W]; None without one."""
        arguments, data = self.entries.get("model_args") or {}, self.entries.get("pretrained_cfg") or {}
        return self.entries.get("image_size") or arguments.get("img_size") or data.get("input_size")

    @property
    def image_size(self):
        """(H, W) in pixels of the images that the model was made for; None where config.json does not say it."""
        stated = self.stated_size
        size = tuple(stated[-2:]) if isinstance(stated, list) else (stated, stated)
        return size if len(size) == 2 and all(type(side) is int and side > 0 for side in size) else None

    @functools.cached_property
    def labels(self):
        """The classes' names, in the order of the outputs; None where config.json does not have them.

        Raises:
            ValueError: for names that are not those of 0 to K - 1.
        """
        if self.library == "timm":
            return self._timm_labels()
        if CLASSIFIER not in self.name:
            return None
        if "id2label" in self.entries:
            found = self.entries["id2label"]
            return None if found is None else self._in_order("id2label", found)
        # transformers leaves out what it supposes: two classes, and of a PVT a thousand.
        count = self._count("num_labels") or (1000 if self.entries.get("model_type") == "pvt" else 2)
        return tuple(f"LABEL_{k}" for k in range(count))

    def _timm_labels(self):
        names, classes = self.entries.get("label_names"), self._count("num_classes")
        if isinstance(names, list):
            names = {str(k): name for k, name in enumerate(names)}
        if names is not None:
            return self._in_order("label_names", names)
        # As timm has it, that many classes without names are ImageNet's.
        return tuple(label for _, label in imagenet_labels(classes)) if classes in (1000, 11821, 21841, 21843) else None

    def _in_order(self, field, names):
        """{"0": name, ...} as a tuple."""
        if not isinstance(names, dict) or not names:
            raise self.wrong(field, names, 'the names of the classes, {"0": "cat", "1": "dog"}')
        if any(not isinstance(name, (str, int)) for name in names.values()):
            odd = next(name for name in names.values() if not isinstance(name, (str, int)))
            raise self.wrong(field, odd, "a text for every class")
        missing = [str(k) for k in range(len(names)) if str(k) not in names]
        if missing:
            raise self.wrong(
                field,
                f"{len(names)} names, none of them for {', '.join(missing[:5])}",
                f"one name for each of the classes 0 to {len(names) - 1}",
            )
        return tuple(str(names[str(k)]) for k in range(len(names)))

    def _count(self, field):
        value = self.entries.get(field)
        if value is not None and (type(value) is not int or not 0 <= value < 2**31):
            raise self.wrong(field, value, "a number of classes")
        return value

    def spec(self):
        """The preprocessing, a `Spec`; None where the folder does not state it.

        Raises:
            ValueError: for a preprocessing that a `Spec` cannot say, naming the field, its value and what can be said.
        """
        if self.library == "timm":
            return timm_spec(self.config, self.entries)
        path = self.path / PREPROCESSOR
        return transformers_spec(path, read_json(path), self.entries) if path.is_file() else None

    def wrong(self, field, value, expected):
        """The error for a value of config.json."""
        return WeightFileError(f"{self.config}: {field}: expected {expected}. Received: {field}={_short(value)}")


def is_library_folder(path):
    """Whether a folder is one of transformers or timm, by its config.json.

    Raises:
        ValueError: for a config.json beside weights that cannot be read.
    """
    config = Path(path) / CONFIG
    if not config.is_file():
        return False
    try:
        return _library(read_json(config)) is not None
    except ValueError:
        if any((Path(path) / name).is_file() for name in LIBRARY_WEIGHTS):
            raise
        return False


def open_folder(path):
    """The `LibraryFolder` at a path.

    Raises:
        ValueError: if it is none.
    """
    path = Path(path)
    if not (path / CONFIG).is_file():
        raise WeightFileError(f"{path} is no folder of transformers or timm: it has no {CONFIG}.")
    entries = read_json(path / CONFIG)
    library = _library(entries)
    if library is None:
        raise WeightFileError(
            f"{path / CONFIG} names no model. Expected `model_type` or `architectures` (transformers), or "
            f"`architecture` (timm). It has: {', '.join(map(str, list(entries)[:8])) or 'nothing'}."
        )
    if library == "timm":
        return LibraryFolder(path, library, entries["architecture"], entries)
    classes = entries.get("architectures") or [entries.get("model_type")]
    name = classes[0] if isinstance(classes, list) and isinstance(classes[0], str) else str(entries.get("model_type"))
    return LibraryFolder(path, library, re.sub("^(TF|Flax)(?=[A-Z])", "", name), entries)


def _library(entries):
    """Whose config.json this is, of LIBRARIES; None for anything else."""
    if isinstance(entries.get("architecture"), str):
        return "timm"
    named = isinstance(entries.get("model_type"), str) or isinstance(entries.get("architectures"), list)
    return "transformers" if named and (entries.get("model_type") or entries.get("architectures")) else None


def read_json(path):
    """The JSON object in a file from elsewhere, as a dictionary.

    Raises:
        ValueError: naming the file, if it holds anything else, or is larger than MAX_CONFIG.
    """
    path = Path(path)
    if path.stat().st_size > MAX_CONFIG:
        raise refused(path, f"it has {path.stat().st_size:,} bytes; the limit is {MAX_CONFIG:,} (MAX_CONFIG)")
    with reading(path, "a JSON object"):
        entries = bounded_json.parse(path.read_bytes())
    if not isinstance(entries, dict):
        raise damaged(path, "a JSON object", _short(entries))
    return entries


@dataclass(frozen=True)
class FolderInfo:
    """What a folder of another library says of its model; `print` shows it."""

    path: Path
    library: str
    name: str  # transformers' class or timm's architecture
    weights: Path
    numbers: int  # of all arrays of the weights
    classes: int | None
    labels: tuple[str, ...] | None
    image_size: str  # as config.json has it
    preprocessing: str  # in words, or why it is not to be had

    def __str__(self):
        names = ", ".join(self.labels[:5]) + ", ..." * (len(self.labels) > 5) if self.labels else "not named"
        classes = f"{self.classes}: {names}" if self.classes else "no classifier"
        return (
            f"{self.path}: {self.name} of {self.library}\n"
            f"  weights       {self.weights.name}, {self.numbers:,} numbers\n"
            f"  image size    {self.image_size}\n"
            f"  classes       {classes}\n"
            f"  preprocessing {self.preprocessing}"
        )


def describe(path):
    """The `FolderInfo` of a folder, from its JSON files and the shapes of its weights.

    Raises:
        ValueError: as `open_folder`; for a folder without weights.
    """
    folder = open_folder(path)
    shapes = readers.read(folder.weights).shapes().values()
    try:
        spec = folder.spec()
        words = "not stated" if spec is None else _in_words(spec)
    except WeightFileError as error:
        words = str(error)
    counted, stated = sum(map(math.prod, shapes)), str(folder.stated_size or "not stated")[:50]
    about = (folder.weights, counted, folder.classes, folder.labels, stated, words)
    return FolderInfo(folder.path, folder.library, folder.name, *about)


def _in_words(spec):
    size = f"{spec.size[0]} x {spec.size[1]}"
    mean, std = (tuple(round(number, 6) for number in values) for values in (spec.mean, spec.std))
    return f"{size} pixels, {spec.interpolation}, crop {spec.crop_pct:.4g} ({spec.crop_mode}), mean {mean}, std {std}"


def _short(value):
    return repr(value)[:100]
