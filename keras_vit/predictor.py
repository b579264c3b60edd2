"""One way to ask for probabilities: a run, a `.keras`, a SavedModel, a `.tflite`, a zoo name.

`open_predictor` finds out what a source is and brings its preprocessing and labels along; the
`Predictor` it gives takes pictures of any size. What runs underneath (Keras, a signature, the
LiteRT interpreter) is a function from pictures (B, H, W, 3) in [0, 255], already of the model's size, to
probabilities (B, K).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from keras_vit import artifacts
from keras_vit.outputs import as_probabilities
from keras_vit.preprocessing import Spec, normalize, normalizes_inside, read_image, resize, resolve_row, resolve_spec
from keras_vit.runs import LABELS, MODEL, RUN, SPEC, Run, load_keras_model, read_labels

EXPECTED = (
    "a run folder (run.json), a .keras file, a SavedModel (saved_model.pb, NAME/VERSION/, or a "
    "folder with models/NAME/VERSION/), a .tflite file, or a model's name such as SwinT"
)


@dataclass(frozen=True)
class Predictor:
    """Pictures in, probabilities out."""

    kind: str  # "keras run", "keras model", "SavedModel", "tflite", "zoo model"
    name: str
    labels: tuple[str, ...]  # K names, in the order of the outputs
    spec: Spec | None  # None: the SavedModel prepares encoded pictures itself
    run: Callable  # list of B prepared pictures -> float32 (B, K)
    weights: Path | None = None  # the file that holds the weights, for its checksum
    parameters: int | None = None
    top_k: int | None = None  # classes that an answer scores, all others being 0; None: all of them
    model: Any = None  # the keras.Model; None for a SavedModel and a .tflite file, which cannot be looked into

    @property
    def runtime(self):
        """What computes: "keras-<backend>", "savedmodel" or "litert"."""
        if self.kind not in ("SavedModel", "tflite"):
            import keras

            return f"keras-{keras.backend.backend()}"
        return {"SavedModel": "savedmodel", "tflite": "litert"}[self.kind]

    @property
    def quantisation(self):
        """How a `.tflite` stores weights, as its name's end tells ("fp32", ...), else "none"."""
        known = ("dynamic_int8", "int16x8", "int8", "fp16", "fp32") if self.kind == "tflite" else ()
        return next((quant for quant in known if self.name.endswith(f"_{quant}")), "none")

    def prepare(self, image):
        """A path, or uint8 (H0, W0, 3) -> what `run` takes: float32 (H, W, 3), or bytes."""
        if isinstance(image, (str, os.PathLike)):
            image = read_image(image)
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(
                "A picture is a path, or a uint8 array (H, W, 3). " f"Received: {image.dtype} of shape {image.shape}."
            )
        return artifacts.as_png(image) if self.spec is None else resize(image, self.spec).numpy()

    def predict(self, images, batch_size=32):
        """Paths or uint8 arrays (H, W, 3), of any sizes -> probabilities float32 (N, K)."""
        if isinstance(images, (str, os.PathLike)) or getattr(images, "ndim", 4) == 3:
            raise ValueError("predict takes a list of pictures; put a single one into a list.")
        return self.predict_prepared((self.prepare(image) for image in images), batch_size)

    def predict_prepared(self, pictures, batch_size=32):
        """The same for an iterable of what `prepare` gave, never holding more than one batch."""
        found, batch = [np.zeros((0, len(self.labels)), "float32")], []
        for picture in pictures:
            batch.append(picture)
            if len(batch) == batch_size:
                found.append(self.run(batch))
                batch = []
        if batch:
            found.append(self.run(batch))
        return np.concatenate(found)


def open_predictor(source, spec=None, labels=None):
    """Open a source for predicting.

    Args:
        source: a run folder; a `.keras` or `.tflite` file; a SavedModel, as a version's folder, a
            model's folder (its highest version is taken) or a folder with models/NAME/VERSION/; or
            a model's name, with or without a tag ("SwinT", "SwinT.ms_in22k_ft_in1k").
        spec: preprocessing, for sources that do not say how: what `resolve_spec` takes.
        labels: names of the classes, a sequence or a text file; by default what lies with the
            source, else the classes' numbers.
    Raises: ValueError if the source is none of these, or lacks something.
    """
    path = Path(source)
    opener = next((opener for matches, opener in OPENERS if matches(path)), None)
    if opener is not None:
        return opener(path, spec, labels)
    if path.exists():
        raise ValueError(f"{path} is nothing that can predict. Expected {EXPECTED}.")
    if os.sep in str(source) or path.suffix in (".keras", ".tflite"):
        raise FileNotFoundError(f"{path} does not exist. Expected {EXPECTED}.")
    return _open_zoo(str(source), spec, labels)


def _open_run(path, spec, labels):
    run = Run.open(path)
    return run_predictor(run, run.load_model(), None if spec is None else resolve_spec(spec), labels)


def run_predictor(run, model, spec=None, labels=None):
    """The predictor of a `Run` whose model is loaded already; its own preprocessing and labels if none are given."""
    weights = run.path / MODEL
    return _keras_predictor("keras run", run.name, model, spec or run.spec, labels or run.labels, weights)


def _open_keras(path, spec, labels):
    spec, labels = _spec_beside(path, spec, path.parent), _labels_beside(labels, path.parent)
    model = load_keras_model(path)
    return _keras_predictor("keras model", path.stem, model, spec, labels, path)


def _open_zoo(name, spec, labels):
    from keras_vit.labels import imagenet_labels
    from keras_vit.weights.download import fetch
    from keras_vit.zoo import create_model

    row = resolve_row(name)
    if not row.classes:
        raise ValueError(f"{row.name} was published without a classifier; it cannot predict classes.")
    weights = Path(fetch(row))
    model = create_model(row.name, input_shape=(*row.size, 3), classes=row.classes)
    labels = labels or [label for _, label in imagenet_labels(row.classes)]
    spec = row.spec if spec is None else resolve_spec(spec)
    return _keras_predictor("zoo model", row.name, model, spec, labels, weights)


def _keras_predictor(kind, name, model, spec, labels, weights):
    from keras import ops

    shape = model.input_shape
    if len(shape) != 4 or any(n not in (None, m) for n, m in zip(shape[1:], (*spec.size, 3))):
        raise ValueError(f"{weights}: the model takes {shape[1:]}, its preprocessing gives {(*spec.size, 3)}.")
    as_pixels, finish = normalizes_inside(model), as_probabilities(model, spec.size)

    def run(pictures):
        pictures = np.stack(pictures)
        pictures = pictures if as_pixels else normalize(pictures, spec)
        return ops.convert_to_numpy(finish(np.asarray(model.predict_on_batch(pictures), "float32")))

    labels = _checked_labels(labels, model.output_shape[-1], weights)
    return Predictor(kind, name, labels, spec, run, weights, model.count_params(), model=model)


def _open_saved_model(path, spec, labels):
    folder = artifacts.version_folder(path)
    loaded, assets, top_k = artifacts.load_saved_model(folder), folder / "assets", None
    labels = _labels_beside(labels, assets)
    if "predict_images" in loaded.signatures and (spec is not None or (assets / SPEC).is_file()):
        spec = _spec_beside(path, spec, assets)
        run, classes = artifacts.image_signature(loaded, folder)
    elif "serving_default" not in loaded.signatures:
        raise ValueError(
            f"{folder} needs the signature serving_default, or predict_images with a {SPEC} in "
            f"assets/. It has: {', '.join(loaded.signatures) or 'none'}."
        )
    elif labels is None:
        raise ValueError(f"{assets} has no {LABELS}, without which classes cannot be counted.")
    else:
        spec, classes = None, len(labels)
        run, top_k = artifacts.bytes_signature(loaded, folder, classes)
    labels = _checked_labels(labels, classes, folder)
    name = folder.parent.name if folder.name.isdigit() else folder.name
    weights = min(folder.glob("variables/variables.data-*"), default=None)
    return Predictor("SavedModel", name, labels, spec, run, weights, artifacts.parameters(loaded), top_k)


def _open_tflite(path, spec, labels):
    spec, labels = _spec_beside(path, spec, path.parent), _labels_beside(labels, path.parent)
    run, classes = artifacts.tflite(path, spec)
    labels = _checked_labels(labels, classes, path)
    return Predictor("tflite", path.stem, labels, spec, run, path)


def _open_tflite_folder(path, spec, labels):
    files = sorted(path.glob("*.tflite"))
    if len(files) > 1:
        names = ", ".join(str(file) for file in files)
        raise ValueError(f"{path} holds {len(files)} TFLite files; name one of them: {names}.")
    return _open_tflite(files[0], spec, labels)


def _spec_beside(path, spec, folder):
    """The spec that was given, else the one that lies with the file."""
    if spec is not None:
        return resolve_spec(spec)
    if (folder / SPEC).is_file():
        return Spec.load(folder / SPEC)
    raise ValueError(
        f"{path} does not say how its pictures are prepared, and {folder} has no {SPEC}. Add "
        "--preprocessing with such a file, or a model's name to take it from (in Python: spec=)."
    )


def _labels_beside(labels, folder):
    """The labels that were given, else those that lie with the file, else None."""
    if labels is None and (folder / LABELS).is_file():
        labels = folder / LABELS
    return read_labels(labels) if isinstance(labels, (str, os.PathLike)) else labels


def _checked_labels(labels, classes, where):
    if labels is None:
        return tuple(str(number) for number in range(classes))
    labels = read_labels(labels) if isinstance(labels, (str, os.PathLike)) else tuple(labels)
    if len(labels) != classes:
        raise ValueError(f"{where} has {classes} classes, and there are {len(labels)} labels.")
    return labels


OPENERS = (  # in this order: what a path is, and what opens it
    (lambda path: (path / RUN).is_file() or (path / MODEL).is_file(), _open_run),
    (artifacts.is_saved_model, _open_saved_model),
    (lambda path: path.suffix == ".keras" and path.is_file(), _open_keras),
    (lambda path: path.suffix == ".tflite" and path.is_file(), _open_tflite),
    (lambda path: any(path.glob("*.tflite")), _open_tflite_folder),
)
