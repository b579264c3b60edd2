"""The model to export, with its preprocessing and labels: from a run folder, a `.keras` file, or a published name."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vit.preprocessing import IMAGE_SUFFIXES, Spec
from keras_vit.sources.resolve import resolve, resolve_spec
from keras_vit.sources.run_folder import MODEL, TEST_IMAGES, Run, load_keras_model, read_labels


@dataclass(frozen=True)
class ExportedModel:
    """A model to export, with everything that its artifacts need."""

    model: Any  # keras.Model in float32: images (B, H, W, 3), normalised unless it does so itself -> (B, K)
    spec: Spec
    labels: tuple[str, ...]  # K names, in the order of the outputs
    name: str  # for folders, files and URLs
    images: tuple = ()  # (path, class number) of images that the model was not trained on
    published: Any = None  # catalogue row of a published model
    weights: Path | None = None  # file of the weights


def open_source(source, preprocessing=None, labels=None):
    """Open a run folder, a `.keras` file or a model's name ("SwinT", "SwinT.ms_in1k", timm's names) for export.

    Args:
        source: path or name. A run has its own preprocessing, labels and test images; a name has the catalogue's
            preprocessing and weights, and ImageNet's labels.
        preprocessing: for a `.keras` file only, and required there: a preprocessing.json, or a model's name.
        labels: only for a `.keras` file: a text file, one name per line; by default classes are called "0", "1", ...

    Returns:
        An `ExportedModel`.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if preprocessing or labels are missing, given twice, or do not fit the model.
    """
    found = resolve(source, ("run", "keras", "published"))
    if found.kind != "keras" and not (preprocessing is None and labels is None):
        raise ValueError(
            f"{source}: --preprocessing and --labels are for `.keras` files; runs and published models have their own."
        )
    if found.kind == "run":
        return _checked(_open_run(found.path))
    return _checked(_open_keras(found.path, preprocessing, labels) if found.kind == "keras" else _open_published(found))


def image_files(paths):
    """The images that paths of files and folders name.

    Args:
        paths: image files, and folders, which are searched recursively.

    Returns:
        (path, None) pairs, sorted within each folder; None stands for the unknown class.

    Raises:
        ValueError: for a path that does not exist and a folder without images.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise ValueError(f"{path} has no images ({', '.join(IMAGE_SUFFIXES)}).")
            found.extend(inside)
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"{path} does not exist; expected an image or a folder of images.")
    return tuple((path, None) for path in found)


def _open_run(path):
    run = Run.open(path)
    images = tuple(run.test_images()) if (path / TEST_IMAGES).is_file() else ()
    return ExportedModel(run.load_model(), run.spec, run.labels, run.name, images, weights=path / MODEL)


def _open_keras(path, preprocessing, labels):
    if preprocessing is None:
        raise ValueError(
            f"{path} has no preprocessing. Add --preprocessing with a preprocessing.json "
            '({"size": [H, W], "mean": [...], "std": [...]}) or the name of a model with the same preprocessing.'
        )
    spec = resolve_spec(preprocessing)
    model = load_keras_model(path)
    names = read_labels(labels) if labels else tuple(str(k) for k in range(_classes(model)))
    return ExportedModel(model, spec, names, path.stem, weights=path)


def _open_published(found):
    from keras_vit.models.create import create_published

    return ExportedModel(create_published(found.row), found.spec(), found.labels(), found.name, published=found.row)


def _checked(source):
    import keras

    from keras_vit.export.model.float32 import in_float32

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Exporting needs Keras on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}; unset it."
        )
    classes, shape = _classes(source.model), tuple(source.model.inputs[0].shape)
    if len(source.model.inputs) != 1 or len(shape) != 4 or shape[3] != 3:
        raise ValueError(f"{source.name}: expected one input (B, H, W, 3). Received: {shape}.")
    if any(side not in (None, prepared) for side, prepared in zip(shape[1:3], source.spec.size)):
        raise ValueError(
            f"{source.name}: preprocessing and model must have the same size. Received: {source.spec.size} pixels from "
            f"the preprocessing, {shape[1:3]} of the model's input."
        )
    if classes != len(source.labels):
        raise ValueError(f"{source.name}: the model has {classes} classes, but there are {len(source.labels)} labels.")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", source.name).strip("._-") or "model"
    model, labels = in_float32(source.model), tuple(source.labels)
    return dataclasses.replace(source, model=model, labels=labels, name=name)


def _classes(model):
    shapes = [tuple(output.shape) for output in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None:
        raise ValueError(
            f"Only classifiers can be exported, with one output (B, K). Received {model.name}: {shapes}; "
            "build the model with include_top=True."
        )
    return shapes[0][1]
