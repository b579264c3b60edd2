"""The model to export, with its preprocessing and labels: from a run folder, a `.keras` file, or a published name."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vit.evaluation.images import find_images
from keras_vit.images.listing import list_images
from keras_vit.prediction.classifier import as_functional
from keras_vit.prediction.doubts import recorded_accuracy
from keras_vit.prediction.image_size import KERAS, model_at, run_model_at, spec_at
from keras_vit.prediction.predictor import ONE_OF_TWO
from keras_vit.preprocessing import IMAGE_SUFFIXES, Spec
from keras_vit.sources.answers import Answers
from keras_vit.sources.library_folder import open_folder
from keras_vit.sources.resolve import resolve, resolve_spec
from keras_vit.sources.run_folder import MODEL, TEST_IMAGES, Run, load_keras_model, read_labels


@dataclass(frozen=True)
class ExportedModel:
    """A model to export, with everything that its artifacts need."""

    model: Any  # keras.Model in float32: images (B, H, W, 3), as `input_values` says -> (B, K), or (B, 1) for K = 2
    spec: Spec
    labels: tuple[str, ...]  # K names, in the order of the outputs
    name: str  # for folders, files and URLs
    images: tuple = ()  # (path, class number or tuple of numbers) of images that the model was not trained on
    published: Any = None  # catalogue row of a published model
    weights: Path | None = None  # file of the weights
    input_values: str | None = None  # which values the model takes, asked for or recorded; None: to be found out
    asked: bool = False  # whether the user said `input_values`
    loaded: Any = None  # the model as it was loaded, in its own precision; None: `model`
    accuracy: float | None = None  # in [0, 1], that training measured on `images`
    answers: Answers = Answers()  # how the outputs are read
    features: tuple = ()  # names of the outputs of a model that gives features, a dictionary, and has no labels


def open_source(source, preprocessing=None, labels=None, input_values=None, img_size=None, crop_pct=None):
    """Open a run folder, a `.keras` file, a folder of another library, or a model's name ("SwinT", timm's) for export.

    Args:
        source: path or name. A run has its own preprocessing, labels and test images; a name has the catalogue's
            preprocessing and weights, and ImageNet's labels.
        preprocessing: for a `.keras` file only: a preprocessing.json, or a model's name; by default the
            preprocessing.json beside it.
        labels: only for a `.keras` file: a text file, one name per line; by default the labels.txt beside it, else
            classes are called "0", "1", ... Two names for a single output, the probability of the second.
        input_values, img_size, crop_pct: which values the model takes, the size of its images and their crop, see
            `keras_vit.Predictor.open`.

    Returns:
        An `ExportedModel`.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if preprocessing or labels are missing, given twice, or do not fit the model.
    """
    found = resolve(source, KERAS)
    if found.kind not in ("keras", "library") and not (preprocessing is None and labels is None):
        raise ValueError(
            f"{source}: --preprocessing and --labels are for `.keras` files and those of other libraries; runs and "
            "published models have their own."
        )
    own = found.spec() if preprocessing is None else resolve_spec(preprocessing)
    spec = spec_at(found, own, img_size, crop_pct)
    opened = OPENERS[found.kind](found, spec, labels, img_size is not None)
    if (spec.size, spec.crop_pct) != (own.size, own.crop_pct):
        opened = dataclasses.replace(opened, accuracy=None)  # it was measured on other crops
    recorded = input_values or opened.spec.input_values or found.input_values()
    return _checked(dataclasses.replace(opened, input_values=recorded, asked=input_values is not None))


def of_any_size(source):
    """The same `ExportedModel` with a model of images of any size; its spec keeps the size that files are resized to.

    Raises:
        ValueError: for a model that cannot be one.
    """
    from keras_vit.models.sizes import at_image_size

    model = at_image_size(source.model, (None, None))
    return dataclasses.replace(source, model=model, loaded=model if source.loaded is source.model else source.loaded)


def image_files(paths, labels=(), multi_label=False):
    """The images that paths of files and folders name.

    Args:
        paths: image files; folders, which are searched recursively; and CSV files with the columns path,label.
        labels: the model's K class names. Where all images of a folder lie in folders that are called like them, their
            classes are known.
        multi_label: whether an image may have several labels, or none.

    Returns:
        (path, number of the class or None where it is not known) pairs, sorted within each folder; a tuple of numbers
        where there may be several labels.

    Raises:
        ValueError: for a path that does not exist and a folder without images.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            found.extend(_in_folder(path, labels, multi_label))
        elif path.suffix.lower() == ".csv" and path.is_file():
            found.extend(find_images(path, labels, multi_label=multi_label))
        elif path.is_file():
            found.append((path, None))
        else:
            raise ValueError(f"{path} does not exist; expected an image or a folder of images.")
    return tuple(found)


def _in_folder(folder, labels, multi_label):
    """(path, number of the class) of all images below a folder; None for the class where it is not known."""
    inside = list_images(folder).images
    if not inside:
        raise ValueError(f"{folder} has no images ({', '.join(IMAGE_SUFFIXES)}).")
    try:
        known = find_images(folder, labels, order="name", multi_label=multi_label) if labels else []
    except ValueError:  # its folders are no classes
        known = []
    return known if len(known) == len(inside) else [(Path(path), None) for path in inside]


def test_images(found):
    """The test images of a `Resolved` run, (path, class) pairs; none of other sources."""
    if found.kind != "run" or not (found.path / TEST_IMAGES).is_file():
        return ()
    return tuple(Run.open(found.path).test_images())


def _open_run(found, spec, labels, resized):
    run, path = Run.open(found.path), found.path
    images = test_images(found)
    measured = recorded_accuracy(path) if images else None
    model, weights = run_model_at(run, spec.size) if resized else run.load_model(), path / MODEL
    more = {"weights": weights, "accuracy": measured, "answers": run.answers}
    return ExportedModel(model, spec, run.labels, run.name, images, **more)


def _open_keras(found, spec, labels, resized):
    path = found.path
    if spec is None:
        raise ValueError(
            f"{path} has no preprocessing. Add --preprocessing with a preprocessing.json "
            '({"size": [H, W], "mean": [...], "std": [...]}) or the name of a model with the same preprocessing.'
        )
    model = load_keras_model(path)
    model = as_functional(model_at(model, spec.size) if resized else model, spec.size)
    names = (read_labels(labels) if labels else found.labels()) or tuple(str(k) for k in range(_classes(model)))
    return ExportedModel(model, spec, names, path.stem, weights=path, answers=found.answers())


def _open_library(found, spec, labels, resized):
    from keras_vit.models.create import create_from_folder

    if spec is None:
        raise ValueError(
            f"{found.path} has no preprocessing. Add --preprocessing with a preprocessing.json or the name of a model "
            "with the same preprocessing."
        )
    model = create_from_folder(found.path, include_top=True, input_shape=(*spec.size, 3))
    names = (read_labels(labels) if labels else found.labels()) or tuple(str(k) for k in range(_classes(model)))
    return ExportedModel(model, spec, names, found.name, weights=open_folder(found.path).weights)


def _open_published(found, spec, labels, resized):
    from keras_vit.models.create import create_published

    model = create_published(found.row, *([spec.size] if resized else []))
    return ExportedModel(model, spec, found.labels(), found.name, published=found.row)


OPENERS = {"run": _open_run, "keras": _open_keras, "library": _open_library, "published": _open_published}


def check_images(source):
    """The `ExportedModel` itself, if it takes images as they are exported.

    Raises:
        ValueError: for another backend than TensorFlow, and for inputs of another form or size.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Exporting needs Keras on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}; unset it."
        )
    shape = tuple(source.model.inputs[0].shape)
    if len(source.model.inputs) != 1 or len(shape) != 4 or shape[3] != 3:
        raise ValueError(f"{source.name}: expected one input (B, H, W, 3). Received: {shape}.")
    if any(side not in (None, prepared) for side, prepared in zip(shape[1:3], source.spec.size)):
        raise ValueError(
            f"{source.name}: preprocessing and model must have the same size. Received: {source.spec.size} pixels from "
            f"the preprocessing, {shape[1:3]} of the model's input."
        )
    return source


def checked_name(name):
    """A name as folders, files and URLs may have it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._-") or "model"


def _checked(source):
    from keras_vit.export.model.float32 import in_float32

    classes = _classes(check_images(source).model)
    if classes != len(source.labels) and (classes, len(source.labels)) != ONE_OF_TWO:
        raise ValueError(f"{source.name}: the model has {classes} classes, but there are {len(source.labels)} labels.")
    model, labels, name = in_float32(source.model), tuple(source.labels), checked_name(source.name)
    return dataclasses.replace(source, model=model, labels=labels, name=name, loaded=source.model)


def _classes(model):
    shapes = [tuple(output.shape) for output in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None:
        raise ValueError(
            f"Expected a classifier, with one output (B, K). Received {model.name}: {shapes}. Build the model with "
            "include_top=True; --no-top, of `keras-vit export` and `keras-vit convert`, takes one without a classifier."
        )
    return shapes[0][1]
