"""Embeddings: a vector per image, of a backbone without a classifier, or of what a classifier's head reads.

embedder = keras_vit.Embedder.open("hf://owner/name")
vectors = embedder.embed(["a.jpg", "b.jpg"], normalize=True)  # (2, D)
"""

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_vit.prediction import pickling
from keras_vit.prediction.backbone import whole_model
from keras_vit.prediction.image_size import KERAS, spec_at
from keras_vit.prediction.many import predict_files, printable
from keras_vit.prediction.neighbours import unit
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec, as_taken, find_input_values
from keras_vit.sources.resolve import resolve, resolve_spec
from keras_vit.sources.run_folder import SPEC


@dataclass(frozen=True)
class Embedder:
    """Images in, vectors out. Pickled, it is its source, or the model in memory: see `pickling`."""

    name: str
    spec: Spec
    model: Any  # keras.Model: images (B, H, W, 3), as `input_values` says -> vectors (B, D)
    input_values: str  # of INPUT_VALUES
    origin: Any = dataclasses.field(default=None, init=False, repr=False, compare=False)  # not copied by `replace`

    def __post_init__(self):
        options = {"name": self.name, "spec": self.spec, "input_values": self.input_values}
        object.__setattr__(self, "origin", pickling.InMemory(type(self), options))

    def __reduce__(self):
        return pickling.reduced(self)

    @classmethod
    def open(cls, source, spec=None, input_values=None, img_size=None, crop_pct=None):
        """Open a model for embedding.

        Args:
            source: a run folder, a `.keras` file, a folder of transformers or timm, a reference of the hub
                (hf://owner/name), or a model's name with or without a tag. A classifier gives what its last Dense
                layers read; a backbone its output, the class token if it has one, else the mean of its map.
            spec, input_values, img_size, crop_pct: as `keras_vit.Predictor.open` takes them.

        Raises:
            FileNotFoundError: for a path that does not exist.
            ValueError: if the source is of another kind, states no preprocessing, or gives no vectors.
        """
        found = resolve(source, KERAS)
        given_spec = None if spec is None else resolve_spec(spec)
        spec = spec_at(found, given_spec or found.spec(), img_size, crop_pct)
        if spec is None:
            raise ValueError(
                f"{source} does not state how its images are prepared: there is no {SPEC} beside it. Add "
                "--preprocessing with such a file, or a model's name to take it from (in Python: spec=)."
            )
        recorded = input_values or spec.input_values or found.input_values()
        whole = whole_model(found, spec, img_size is not None)
        values = find_input_values(whole, spec.size, recorded)
        embedder = cls(found.name, spec, vectors_of(whole, found.labels()), values)
        options = {"input_values": input_values, "img_size": img_size, "crop_pct": crop_pct}
        object.__setattr__(embedder, "origin", pickling.Opened.of(cls.open, source, spec=given_spec, **options))
        return embedder

    @property
    def dim(self):
        """D, the numbers of a vector."""
        return self.model.outputs[0].shape[-1]

    prepare = Predictor.prepare  # a path, or uint8 (H0, W0, 3) -> float32 (H, W, 3)

    def run(self, images):
        """Prepared images, a list of B -> vectors, float32 (B, D)."""
        outputs = self.model.predict_on_batch(as_taken(np.stack(images), self.spec, self.input_values))
        return np.asarray(outputs, "float32")

    def embed(self, images, batch_size=32, normalize=False):
        """Paths or uint8 arrays (H, W, 3), of any sizes -> vectors float32 (N, D).

        `embed_files` embeds any number of files, and goes on after those that it cannot read.

        Args:
            images: a list of them.
            batch_size: images that the model takes at once.
            normalize: whether each vector is divided by its length, so that products are cosines.
        """
        found = [np.zeros((0, self.dim), "float32")]
        for start in range(0, len(images), batch_size):
            found.append(self.run([self.prepare(image) for image in images[start : start + batch_size]]))
        vectors = np.concatenate(found)
        return unit(vectors) if normalize else vectors


def embed_files(embedder, paths, batch_size=32, normalize=False):
    """Embed image files one after the other, without holding them all, as `predict_files` predicts them.

    Args:
        embedder, normalize: an `Embedder`, and as its `embed` takes it.
        paths, batch_size: as `keras_vit.prediction.many.predict_files` takes them.

    Yields:
        `Answer`s, whose `scores` are the vectors (D,).

    Raises:
        ValueError: naming the file, for a vector that is not finite.
    """
    with contextlib.closing(predict_files(embedder, paths, batch_size)) as answers:
        for answer in answers:
            yield answer if answer.scores is None else answer._replace(scores=finite_vector(answer, normalize))


def finite_vector(answer, normalize=False):
    """The vector (D,) of an `Answer`, divided by its length if `normalize` says so.

    Raises:
        ValueError: naming the file, for a vector that is not finite.
    """
    if not np.isfinite(answer.scores).all():
        raise ValueError(f"The vector of {printable(answer.path)} is not finite; check the model's weights.")
    return unit(answer.scores) if normalize else answer.scores


def vectors_of(model, labels=None):
    """The Keras model of the vectors (B, D) of a classifier's or a backbone's images.

    Args:
        model: a `keras.Model` with one output: of a classifier (B, K); of a backbone (B, D) or a map (B, H, W, D), of
            which the mean is taken.
        labels: names of its classes, where they are known: a model with as many outputs is a classifier.

    Raises:
        ValueError: for other outputs, and for a classifier whose last layer is not Dense.
    """
    import keras

    from keras_vit.prediction.features import without_head

    shapes = [tuple(output.shape) for output in model.outputs]
    if len(shapes) == 1 and len(shapes[0]) == 4:
        return keras.Model(model.inputs[0], keras.layers.GlobalAveragePooling2D()(model.outputs[0]))
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(
            f"{model.name} gives no vectors: expected one output (B, D) or a map (B, H, W, D). Received: {shapes}. "
            "Build the backbone with pooling='avg' or 'token'."
        )
    found = without_head(model)
    if found is not None:
        return found
    if labels is not None and len(labels) == shapes[0][1]:
        raise ValueError(
            f"{model.name}: what its classifier reads cannot be told, since its last layer with weights is not Dense. "
            "Save the model without its classifier, and embed with that."
        )
    return model
