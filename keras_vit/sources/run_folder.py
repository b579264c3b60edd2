"""A run folder: what training leaves, and what predicting, validating and exporting read.

model.keras          the best weights, with the architecture
preprocessing.json   how its images are prepared (`keras_vit.preprocessing.Spec`)
labels.txt           the classes' names, one per line; a class's number is its line, from 0
run.json             {"model": ..., "name": ..., "classes": ..., and further entries of training}; of those, read here:
                     "multi_label": true, "thresholds": [K numbers], "unknown": {"score", "threshold", "kept"}
held_out.csv         path,label: the image files of the test split, and the number of their class; a relative path is
                     relative to the run folder: of images in it or near it (`NEAR`), so that both can move together.
                     Where an image may have several labels, its classes' numbers joined by "|", "" for none
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

from keras_vit.images.manifest import BETWEEN
from keras_vit.preprocessing.spec import Spec
from keras_vit.sources.answers import Answers
from keras_vit.sources.keras_archive import load_keras_model
from keras_vit.system import places
from keras_vit.system.files import atomic_file

MODEL = "model.keras"
SPEC = "preprocessing.json"
LABELS = "labels.txt"
RUN = "run.json"
TEST_IMAGES = "held_out.csv"
TEST_FOLDER = "held_out"  # the test images themselves, where the data set has no files
SETTINGS = "args.yaml"
RESULTS = "results.csv"
SUMMARY = "summary.csv"
BAD_FILES = "bad_files.txt"
CHECKPOINTS = "checkpoints"
NEAR = 2  # folders above the run, below which images have relative paths: runs/photos beside data/photos


@dataclass(frozen=True)
class Run:
    """One run folder, opened. What its last three fields mean, `keras_vit.sources.answers.Answers` says."""

    path: Path
    name: str  # what the exported model is called
    model_name: str  # the architecture: "SwinT", or a recipe's own
    classes: int
    labels: tuple[str, ...]
    spec: Spec
    multi_label: bool = False
    thresholds: tuple[float, ...] | None = None  # K, where there are several labels; None: not chosen yet
    unknown: dict | None = None  # {"score": of SCORES, "threshold": t, "kept": share of known images above t}

    @classmethod
    def open(cls, folder):
        """Read a run folder's description.

        Raises:
            ValueError: naming the files that are missing or contradict each other.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"Expected a run folder, as `keras-vit train` leaves. Received: {folder}.")
        missing = [name for name in (MODEL, SPEC, LABELS, RUN) if not (folder / name).is_file()]
        if missing:
            raise ValueError(
                f"{folder} is not a finished run: it has no {', '.join(missing)}. "
                "`keras-vit train --output FOLDER` writes them; run it again to finish one."
            )
        labels = read_labels(folder / LABELS)
        entries = _read_description(folder / RUN)
        if entries["classes"] != len(labels):
            raise ValueError(f"{folder}: {RUN} has {entries['classes']} classes, {LABELS} has {len(labels)}.")
        spec = Spec.load(folder / SPEC)
        answers = Answers.of(entries, len(labels), folder / RUN)
        how = (answers.multi_label, answers.thresholds, answers.unknown)
        return cls(folder, entries["name"], entries["model"], len(labels), labels, spec, *how)

    @property
    def answers(self):
        """How the model's outputs are read, `Answers`."""
        return Answers(self.multi_label, self.thresholds, self.unknown)

    def load_model(self):
        """The trained `keras.Model`, not compiled."""
        return load_keras_model(self.path / MODEL)

    def test_images(self):
        """The test split as (path, number of the class), in the order of held_out.csv; (path, tuple of numbers) where
        an image may have several labels.

        Whether the files are still there is not looked at; `require_test_images` does.

        Raises:
            ValueError: if there is no held_out.csv, or a line of it has no class.
        """
        path = self.path / TEST_IMAGES
        if not path.is_file():
            raise ValueError(f"{self.path} has no test images: {TEST_IMAGES} is missing.")
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{path} needs the columns path,label; it has {reader.fieldnames}.")
            return [self._test_image(path, reader.line_num, row) for row in reader]

    def _test_image(self, csv_path, line, row):
        label = row["label"] or ""
        numbers = label.split(BETWEEN) if label or not self.multi_label else []
        bad = [number for number in numbers if not number.isdecimal() or int(number) >= self.classes]
        if bad or len(numbers) > 1 and not self.multi_label:
            several = f', or several joined by "{BETWEEN}"' if self.multi_label else ""
            raise ValueError(
                f"{csv_path}, line {line}: label must be a class's number below {self.classes}{several}. "
                f"Received: {label!r}."
            )
        if places.is_remote(row["path"]):
            return row["path"], tuple(map(int, numbers)) if self.multi_label else int(label)
        image = self.path / row["path"]
        if ".." in Path(row["path"]).parts:  # from where the folder lies, whatever links lead to it
            image = Path(os.path.normpath(os.path.join(os.path.realpath(self.path), row["path"])))
        return image, tuple(map(int, numbers)) if self.multi_label else int(label)

    def require_test_images(self):
        """The same, of which every file is there.

        Raises:
            ValueError: also if files are missing, which names the remedies.
        """
        return require_files(self.test_images(), self.path)

    @staticmethod
    def write_description(folder, *, name, model_name, labels, spec, details=None):
        """Write run.json, labels.txt and preprocessing.json, each whole or not at all.

        Args:
            name: what an exported model will be called: letters, digits, and _ - . inside.
            labels: the classes' names, in the order of the model's outputs.
            details: further entries of run.json, a dictionary that JSON can hold.

        Raises:
            ValueError: if the name or a label cannot be used.
        """
        labels = _checked_labels(labels)
        if not name or not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ValueError(f"A name may have letters, digits, _, - and dots. Received: {name!r}.")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        classes = len(labels)
        entries = {**(details or {}), "model": model_name, "name": name, "classes": classes}
        spec.save(folder / SPEC)
        with atomic_file(folder / LABELS) as temporary:
            temporary.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        with atomic_file(folder / RUN) as temporary:
            temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def write_test_images(folder, images):
        """Write held_out.csv from (path, number of the class, or a tuple of numbers).

        Paths inside the folder and near it become relative.
        """
        folder = Path(folder).absolute()
        real = os.path.realpath(folder)
        with atomic_file(folder / TEST_IMAGES) as temporary:
            with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("path", "label"))
                for path, label in images:
                    numbers = label if isinstance(label, tuple) else (label,)
                    text = BETWEEN.join(str(int(number)) for number in numbers)
                    writer.writerow((path if places.is_remote(path) else _relative(folder / path, folder, real), text))


def require_files(images, run):
    """The images themselves, (path, anything) pairs, if all files are there.

    Args:
        run: the folder of the run whose test images they are.

    Raises:
        ValueError: saying how many are missing, and what helps.
    """
    missing = [path for path, _ in images if not places.is_remote(path) and not Path(path).is_file()]
    if missing:
        raise ValueError(
            f"{run}: {len(missing)} of its {len(images)} test images are missing, {missing[0]} the first. If the run "
            f"was moved, move its images as well, so that they lie where {TEST_IMAGES} says, or name other images: "
            "--images DIR (export, convert, compare), --data-dir DIR (validate)."
        )
    return images


def _relative(path, folder, real):
    """A path as held_out.csv has it; `real` is where the folder lies, without links."""
    if path.is_relative_to(folder):
        return path.relative_to(folder)
    try:
        near = Path(os.path.relpath(path, real))
    except ValueError:  # another drive of Windows
        return path
    up = near.parts.count("..")
    shared = Path(real, *[".."] * up).resolve()  # the last folder that is above both
    return path if up > NEAR or shared == shared.parent else near.as_posix()


def load_run(folder):
    """The run that `keras-vit train` left in a folder: its labels, preprocessing and test images, and `load_model()`.

    Raises:
        ValueError: naming the files that are missing or contradict each other.
    """
    return Run.open(folder)


def recorded_input_values(folder):
    """Which values a run's model takes, of `preprocessing.INPUT_VALUES`, where run.json says it; else None.

    Training feeds what the run's mean and std give, whatever the network does inside. Its run.json says so by
    "input_values", or, of runs made before there was this entry, by "finished", which nothing else writes.
    """
    path = Path(folder) / RUN
    entries = _read_description(path) if path.is_file() else {}
    return entries.get("input_values") or ("normalized" if "finished" in entries else None)


def recorded_answers(folder):
    """How the outputs of a run's model are read, `Answers`; that of one label per image where there is no run.json."""
    path = Path(folder) / RUN
    if not path.is_file():
        return Answers()
    entries = _read_description(path)
    return Answers.of(entries, entries["classes"], path)


def read_labels(path):
    """The lines of a file of labels, as a tuple.

    Raises:
        ValueError: if it is not UTF-8 text, is empty or has an empty line.
    """
    try:
        labels = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file of labels, in UTF-8: {error}. Save it as UTF-8.") from error
    return _checked_labels(labels, path)


def read_entries(path):
    """The JSON object in a file, as a dictionary.

    Raises:
        ValueError: naming the file if it holds anything else.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # the second, where lists are nested a thousand deep
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path} must hold a JSON object. Received: {str(entries)[:100]}.")
    return entries


def _checked_labels(labels, where="labels"):
    labels = tuple(str(label) for label in labels)
    bad = [label for label in labels if not label.strip() or len(label.splitlines()) > 1]
    if bad or not labels:
        raise ValueError(f"{where}: expected one name per class and line. Received: {bad or 'no label'}.")
    return labels


def _read_description(path):
    entries = read_entries(path)
    kinds = {"model": str, "name": str, "classes": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(entries.get(name), kind)]
    if wrong:
        raise ValueError(f"{path} must hold model, name and classes. Missing, or of another type: {', '.join(wrong)}.")
    return entries
