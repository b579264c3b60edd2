"""A run folder: what training leaves, and what predicting, validating and exporting read.

model.keras          the best weights, with the architecture
preprocessing.json   how its images are prepared (`keras_vit.preprocessing.Spec`)
labels.txt           the classes' names, one per line; a class's number is its line, from 0
run.json             {"model": ..., "name": ..., "classes": ..., and further entries of training}
held_out.csv         path,label: the image files of the test split, and the number of their class; a relative path is
                     relative to the run folder
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from keras_vit.preprocessing.spec import Spec
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


@dataclass(frozen=True)
class Run:
    """One run folder, opened."""

    path: Path
    name: str  # what the exported model is called
    model_name: str  # the architecture: "SwinT", or a recipe's own
    classes: int
    labels: tuple[str, ...]
    spec: Spec

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
        return cls(folder, entries["name"], entries["model"], len(labels), labels, spec)

    def load_model(self):
        """The trained `keras.Model`, not compiled."""
        return load_keras_model(self.path / MODEL)

    def test_images(self):
        """The test split as (path, number of the class), in the order of held_out.csv.

        Raises:
            ValueError: if there is no held_out.csv, or a line of it has no class.
        """
        path = self.path / TEST_IMAGES
        if not path.is_file():
            raise ValueError(f"{self.path} has no test images: {TEST_IMAGES} is missing.")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{path} needs the columns path,label; it has {reader.fieldnames}.")
            return [self._test_image(path, reader.line_num, row) for row in reader]

    def _test_image(self, csv_path, line, row):
        label = row["label"] or ""
        if not label.isdigit() or int(label) >= self.classes:
            raise ValueError(
                f"{csv_path}, line {line}: label must be a class's number below {self.classes}. "
                f"Received: {label!r}."
            )
        return self.path / row["path"], int(label)

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
        """Write held_out.csv from (path, number of the class); paths inside become relative."""
        folder = Path(folder).absolute()
        with atomic_file(folder / TEST_IMAGES) as temporary:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("path", "label"))
                for path, label in images:
                    path = folder / path
                    inside = path.is_relative_to(folder)
                    writer.writerow((path.relative_to(folder) if inside else path, int(label)))


def load_run(folder):
    """The run that `keras-vit train` left in a folder: its labels, preprocessing and test images, and `load_model()`.

    Raises:
        ValueError: naming the files that are missing or contradict each other.
    """
    return Run.open(folder)


def read_labels(path):
    """The lines of a file of labels, as a tuple.

    Raises:
        ValueError: if it is not UTF-8 text, is empty or has an empty line.
    """
    try:
        labels = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file of labels: {error}") from error
    return _checked_labels(labels, path)


def load_keras_model(path):
    """Load a `.keras` file, not compiled.

    Raises:
        ValueError: naming a file that is not one.
    """
    import zipfile

    import keras  # which registers this library's layers, see keras_vit.system.registration

    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a .keras file, or an incomplete one.")
    return keras.saving.load_model(path, compile=False)


def _checked_labels(labels, where="labels"):
    labels = tuple(str(label) for label in labels)
    bad = [label for label in labels if not label.strip() or len(label.splitlines()) > 1]
    if bad or not labels:
        raise ValueError(f"{where}: expected one name per class and line. Received: {bad or 'no label'}.")
    return labels


def _read_description(path):
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path} must hold a JSON object. Received: {entries!r}.")
    kinds = {"model": str, "name": str, "classes": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(entries.get(name), kind)]
    if wrong:
        raise ValueError(f"{path} must hold model, name and classes. Missing, or of another type: {', '.join(wrong)}.")
    return entries
