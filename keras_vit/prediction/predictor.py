"""Probabilities from any model artifact: a run, a `.keras`, a SavedModel, a `.tflite`, a published model.

`Predictor.open` resolves a source and loads its preprocessing and labels with it; the `Predictor` takes images of any
size. What runs underneath (Keras, a signature, the LiteRT interpreter) is a function from images (B, H, W, 3) in
[0, 255], already of the model's size, to probabilities (B, K). Of a model that can tell unknown images, a second
function gives the score of each image as well.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from keras_vit.images.stored import StoredImage
from keras_vit.prediction import pickling, runtimes
from keras_vit.prediction.activations import as_probabilities, of_both
from keras_vit.prediction.classifier import as_functional
from keras_vit.prediction.image_size import KERAS, model_at, run_model_at, spec_at
from keras_vit.prediction.known import known_score, with_logits
from keras_vit.preprocessing import Spec, as_taken, find_input_values, read_image
from keras_vit.preprocessing.resizing import resize_array
from keras_vit.sources.answers import Answers
from keras_vit.sources.resolve import KINDS, resolve, resolve_spec
from keras_vit.sources.run_folder import LABELS, MODEL, SPEC, Run, load_keras_model, read_labels, recorded_input_values

ONE_OF_TWO = (1, 2)  # outputs, labels: the output is the probability of the second


@dataclass(frozen=True)
class Predictor:
    """Images in, probabilities out. Pickled, it is its source, or the model in memory: see `pickling`."""

    kind: str  # "keras run", "keras model", "SavedModel", "tflite", "model of another library", "published model"
    name: str
    labels: tuple[str, ...]  # K names, in the order of the outputs
    spec: Spec | None  # None: the SavedModel decodes and prepares images itself
    run: Callable  # list of B prepared images -> float32 (B, K)
    weights: Path | None = None  # the file that holds the weights, for its checksum
    parameters: int | None = None
    top_k: int | None = None  # how many classes get a score, the others being 0; None: all of them
    model: Any = None  # the keras.Model; None for a SavedModel and a .tflite file
    input_values: str | None = None  # which values `model` takes, of INPUT_VALUES; `run` takes [0, 255] in any case
    answers: Answers = Answers()  # how outputs are read
    run_known: Callable | None = None  # as `run` -> (probabilities, float32 (B,)); None unless `unknown`
    origin: Any = dataclasses.field(default=None, init=False, repr=False, compare=False)  # not copied by `replace`

    @classmethod
    def open(cls, source, spec=None, labels=None, input_values=None, img_size=None, crop_pct=None):
        """Open a source for predicting.

        Args:
            source: a run folder; a `.keras` or `.tflite` file; a SavedModel, as a version's folder, a model's folder
                (its highest version is taken) or a folder with models/NAME/VERSION/; a folder that transformers or
                timm saved; the hf://owner/name of any of these on the hub; or a model's name, with or without a tag
                ("SwinT", "SwinT.ms_in22k_ft_in1k").
            spec: preprocessing, for sources without their own: a `Spec`, a preprocessing.json, a run folder or a
                model's name.
            labels: names of the classes, a sequence or a text file; by default the source's labels.txt, else the
                classes' numbers; two for a model with a single output, which is the probability of the second.
            input_values: which values a Keras model takes: "pixels" ([0, 255]: it normalises by itself), "unit"
                ([0, 1]) or "normalized" (what the mean and std of its preprocessing give); by default what is recorded,
                else what the model itself shows.
            img_size: (H, W) in pixels, or one number for both, of the images that the model gets; by default what its
                preprocessing says. A Keras model that was trained at another size becomes one of this size, with the
                same weights.
            crop_pct: the centre crop's side as a share of the resized short side, in (0, 1]; by default the same.

        Returns:
            A `Predictor`.

        Raises:
            FileNotFoundError: for a path that does not exist.
            ValueError: if the source is of another kind, or incomplete, if it cannot be told what it takes, or if it
                cannot be of that size.
        """
        found = resolve(source)
        if input_values is not None and found.kind not in KERAS:
            raise ValueError(
                f"{source} is {KINDS[found.kind]}, which takes pixels in [0, 255]; input_values (--input-values) are "
                f"for Keras models. Received: {input_values!r}."
            )
        given_spec = None if spec is None else resolve_spec(spec)  # as in what is pickled: files may not be there
        spec = spec_at(found, given_spec or found.spec(), img_size, crop_pct)
        given = None if labels is None else _read(labels)
        labels = found.labels() if given is None else given
        recorded = input_values or (spec and spec.input_values) or found.input_values()
        predictor = OPENERS[found.kind](found, spec, labels, recorded, img_size is not None)
        options = {"labels": given, "input_values": input_values, "img_size": img_size, "crop_pct": crop_pct}
        return _with_origin(predictor, pickling.Opened.of(cls.open, source, spec=given_spec, **options))

    def __reduce__(self):
        return pickling.reduced(self)

    @property
    def multi_label(self):
        """Whether an image may have several labels, or none."""
        return self.answers.multi_label

    @property
    def thresholds(self):
        """Where an image may have several labels: the probability from which it has each class, float32 (K,)."""
        least = self.answers.least(len(self.labels))
        return None if least is None else np.array(least, "float32")

    @property
    def unknown(self):
        """{"score", "threshold", "kept"} of a model that can tell unknown images; else None."""
        return self.answers.unknown if self.run_known else None

    def is_unknown(self, known):
        """Whether images with these scores are of none of the classes, bool of the same shape."""
        return np.asarray(known) < np.float32(self.unknown["threshold"])

    @property
    def runtime(self):
        """What computes: "keras-<backend>", "savedmodel" or "litert"."""
        if self.kind not in ("SavedModel", "tflite"):
            import keras

            return f"keras-{keras.backend.backend()}"
        return {"SavedModel": "savedmodel", "tflite": "litert"}[self.kind]

    @property
    def quantization(self):
        """How a `.tflite` stores weights, by its file name's ending ("fp32", ...); "none" for all others."""
        known = ("dynamic_int8", "int16x8", "int8", "fp16", "fp32") if self.kind == "tflite" else ()
        return next((quant for quant in known if self.name.endswith(f"_{quant}")), "none")

    def prepare(self, image):
        """A path, a `StoredImage`, or uint8 (H0, W0, 3) -> the input of `run`: float32 (H, W, 3), or bytes."""
        if isinstance(image, (str, os.PathLike)):
            image = read_image(image)
        elif isinstance(image, StoredImage):
            image = read_image(image.read())
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(
                f"An image is a path, or a uint8 array (H, W, 3). Received: {image.dtype} of shape {image.shape}."
            )
        return runtimes.as_png(image) if self.spec is None else resize_array(image, self.spec)

    def inputs(self, images):
        """Prepared images (B, H, W, 3) as the Keras model takes them."""
        return as_taken(np.asarray(images, "float32"), self.spec, self.input_values)

    def taking(self, input_values):
        """The predictor of the same Keras model, were it one of other input values."""
        run, run_known = _keras_runs(self.model, self.spec, input_values, len(self.labels), self.answers)
        return dataclasses.replace(self, run=run, run_known=run_known, input_values=input_values)

    def predict(self, images, batch_size=32):
        """Paths or uint8 arrays (H, W, 3), of any sizes -> probabilities float32 (N, K)."""
        if isinstance(images, (str, os.PathLike)) or getattr(images, "ndim", 4) == 3:
            raise ValueError("predict takes a list of images; pass a single image as a list of one.")
        return self.predict_prepared((self.prepare(image) for image in images), batch_size)

    def predict_prepared(self, images, batch_size=32):
        """The same for an iterable of prepared images, never holding more than one batch."""
        none = np.zeros((0, len(self.labels)), "float32")
        return np.concatenate([none, *(self.run(batch) for batch in _batches(images, batch_size))])

    def predict_known(self, images, batch_size=32):
        """As `predict_prepared`, with the score by which each image is known: (float32 (N, K), float32 (N,)).

        Raises:
            ValueError: for a model without such a score.
        """
        if self.run_known is None:
            raise ValueError(
                f"{self.name} has no score of known images. Train with --unknown-score energy or max_logit."
            )
        none = (np.zeros((0, len(self.labels)), "float32"), np.zeros(0, "float32"))
        found = [none, *(self.run_known(batch) for batch in _batches(images, batch_size))]
        return tuple(np.concatenate(part) for part in zip(*found))


def _batches(images, size):
    """Lists of `size` images, the last of those that are left."""
    batch = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def run_predictor(run, model, spec=None, labels=None, recorded=None):
    """The predictor of a `Run` whose model is loaded already; by default with the run's preprocessing and labels."""
    labels, spec = run.labels if labels is None else labels, spec or run.spec
    recorded = recorded or recorded_input_values(run.path)
    return keras_predictor("keras run", run.name, model, spec, labels, run.path / MODEL, recorded, run.answers)


def keras_predictor(kind, name, model, spec, labels, weights=None, recorded=None, answers=Answers()):
    """The predictor of a loaded Keras model.

    Args:
        kind, name, spec, weights: as a `Predictor` has them.
        model: a `keras.Model` with one output (B, K).
        labels: K names, or None for numbers; two where K is 1.
        recorded: which values it takes, if that is known; see `find_input_values`.
        answers: how its outputs are read.

    Raises:
        ValueError: for another size than the spec's, or another number of labels; if it cannot be told what it takes;
            if it cannot give such answers.
    """
    from keras_vit.layers.image_size import ImageSize

    model = as_functional(model, spec.size)
    shape = model.input_shape
    if len(shape) != 4 or any(n not in (None, m) for n, m in zip(shape[1:], (*spec.size, 3))):
        raise ValueError(
            f"{weights or name}: the model takes {shape[1:]}, its preprocessing gives {(*spec.size, 3)}. "
            "--img-size runs it at another size (in Python: img_size=)."
        )
    labels = _checked_labels(labels, model.output_shape[-1], weights or name)
    for layer in model.layers:
        if isinstance(layer, ImageSize):  # of a model of any size; in its own words, before images fail in it
            layer.check(*spec.size)
    values = find_input_values(model, spec.size, recorded or spec.input_values)
    run, run_known = _keras_runs(model, spec, values, len(labels), answers)
    known = {"answers": answers, "run_known": run_known}
    more = {"parameters": model.count_params(), "model": model, "input_values": values}
    options = {"kind": kind, "name": name, "spec": spec, "labels": labels, "recorded": values, "answers": answers}
    predictor = Predictor(kind, name, labels, spec, run, weights, **more, **known)
    return _with_origin(predictor, pickling.InMemory(keras_predictor, options))


def _with_origin(predictor, origin):
    object.__setattr__(predictor, "origin", origin)  # as dataclasses set fields of frozen ones
    return predictor


def _stacked(images):
    """A batch (B, H, W, 3) of prepared images; a ValueError unless all have one size."""
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        received = ", ".join(f"{height} x {width}" for height, width in sizes[:3])
        raise ValueError(
            f"The images of a batch must have one size. Received: {received} pixels. `Predictor.prepare` gives all "
            "the same; a model of any size takes others one at a time, with batch_size=1."
        )
    return np.stack(images)


def _keras_runs(model, spec, values, classes, answers):
    """`run` and `run_known` of a Keras model."""
    from keras import ops

    finish = as_probabilities(model, spec.size, classes, answers.multi_label)

    def taken(images):
        return as_taken(_stacked(images), spec, values)

    def probabilities(outputs):
        return ops.convert_to_numpy(finish(np.asarray(outputs, "float32")))

    if answers.unknown is None:
        return lambda images: probabilities(model.predict_on_batch(taken(images))), None
    both = with_logits(model)

    def run_known(images):
        both.jit_compile = model.jit_compile  # which `parity` changes
        outputs, logits = both.predict_on_batch(taken(images))
        return probabilities(outputs), known_score(np.asarray(logits), answers.unknown["score"])

    return lambda images: run_known(images)[0], run_known


def _open_run(found, spec, labels, recorded, resized):
    run = Run.open(found.path)
    model = run_model_at(run, spec.size) if resized else run.load_model()
    return run_predictor(run, model, spec, labels, recorded)


def _open_keras(found, spec, labels, recorded, resized):
    spec = _required(spec, found)
    model = load_keras_model(found.path)
    model = model_at(model, spec.size) if resized else model
    return keras_predictor("keras model", found.name, model, spec, labels, found.path, recorded, found.answers())


def _open_published(found, spec, labels, recorded, resized):
    from keras_vit.models.create import create_published
    from keras_vit.weights.download import fetch

    model = create_published(found.row, *([spec.size] if resized else []))
    weights = Path(fetch(found.row))  # in the cache by now
    return keras_predictor("published model", found.row.name, model, spec, labels, weights, recorded)


def _open_library(found, spec, labels, recorded, _):
    from keras_vit.models.create import create_from_folder
    from keras_vit.sources.library_folder import open_folder

    spec = _required(spec, found)
    weights = open_folder(found.path).weights
    model = create_from_folder(found.path, include_top=True, input_shape=(*spec.size, 3))
    return keras_predictor("model of another library", found.name, model, spec, labels, weights, recorded)


def _open_saved_model(found, spec, labels, *_):
    folder = found.path
    loaded, top_k = runtimes.load_saved_model(folder), None
    if "predict_images" in loaded.signatures and spec is not None:
        run, classes = runtimes.image_signature(loaded, folder)
    elif "serving_default" not in loaded.signatures:
        raise ValueError(
            f"{folder} needs the signature serving_default, or predict_images with a {SPEC} in "
            f"assets/. It has: {', '.join(loaded.signatures) or 'none'}."
        )
    elif labels is None:
        raise ValueError(f"{found.folder} has no {LABELS}, which the number of classes is taken from.")
    else:
        spec, classes = None, len(labels)
        run, top_k = runtimes.bytes_signature(loaded, folder, classes)
    run_known, answers = _known_by(run, found)
    run, labels = _named(run, labels, classes, folder)
    weights = runtimes.weights_file(loaded, folder)
    more = {"parameters": runtimes.parameters(loaded), "top_k": top_k, "answers": answers, "run_known": run_known}
    return Predictor("SavedModel", found.name, labels, spec, run, weights, **more)


def _open_tflite(found, spec, labels, *_):
    spec = _required(spec, found)
    run, classes, size = runtimes.tflite(found.path)
    if size != spec.size and spec != found.spec():
        raise ValueError(
            f"{found.path} must take one image of shape {(1, *spec.size, 3)}, which its preprocessing gives. It takes "
            f"{(1, *size, 3)}."
        )
    run_known, answers = _known_by(run, found)
    run, labels = _named(run, labels, classes, found.path)
    known = {"answers": answers, "run_known": run_known}
    return Predictor("tflite", found.name, labels, spec.at(size), run, found.path, **known)  # the folder may have sizes


def _known_by(run, found):
    """`run_known` of what runs, None where it has no score of known images, and the `Answers` that it can give."""
    answers, run_known = found.answers(), getattr(run, "known", None)
    if answers.unknown is None or run_known is None:  # e.g. made before, in a folder with other files
        return None, dataclasses.replace(answers, unknown=None)
    return run_known, answers


def _required(spec, found):
    """The spec; ValueError where neither the caller nor the source gave one."""
    if spec is None:
        raise ValueError(
            f"{found.path} does not state how its images are prepared: {found.folder} has no {SPEC}. Add "
            "--preprocessing with such a file, or a model's name to take it from (in Python: spec=)."
        )
    return spec


def _read(labels):
    """Labels as a tuple, from a sequence or a text file."""
    return read_labels(labels) if isinstance(labels, (str, os.PathLike)) else tuple(labels)


def _checked_labels(labels, classes, where):
    if labels is None:
        return tuple(str(number) for number in range(classes))
    if len(labels) != classes and (classes, len(labels)) != ONE_OF_TWO:
        raise ValueError(f"{where} has {classes} classes, and there are {len(labels)} labels.")
    return tuple(labels)


def _named(run, labels, classes, where):
    """What runs, and its labels; a single output with two names gives probabilities of both."""
    labels = _checked_labels(labels, classes, where)
    return (lambda images: of_both(run(images))) if (classes, len(labels)) == ONE_OF_TWO else run, labels


OPENERS = {
    "run": _open_run,
    "saved_model": _open_saved_model,
    "keras": _open_keras,
    "tflite": _open_tflite,
    "library": _open_library,
    "published": _open_published,
}
