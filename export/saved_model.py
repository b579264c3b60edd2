"""A SavedModel as TF Serving wants it: encoded pictures in, names and scores out, everything between in the graph.

    DIR/models/<name>/<version>/   saved_model.pb, variables/, assets/labels.txt, assets/preprocessing.json,
                                   assets.extra/report.json (TF Serving ignores this folder but for warm-up requests)

serving_default   image_bytes string (B)  ->  classes string (B, k), scores float32 (B, k), class_ids int32 (B, k),
                  the k best, best first. JPEG, PNG, BMP or GIF (first frame). A picture that cannot be decoded
                  leaves the others alone and is answered with classes "", scores 0 and class_ids -1.
predict_images    images float32 (B, H, W, 3) in [0, 255], of the model's size  ->  probabilities float32 (B, K)

A batch may be empty; so is its answer then.
"""

import json
import re
import tempfile
from pathlib import Path

import tensorflow as tf

from keras_vit.export import parity
from keras_vit.export.graph import probabilities
from keras_vit.files import atomic_folder
from keras_vit.preprocessing import decode_image, resize

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # safe in a path, in a REST URL and in models.config
REPORT = "assets.extra/report.json"


class ServedModel(tf.Module):
    """What is saved: the variables, the two signatures, and the files that become assets."""

    def __init__(self, source, top_k, asset_files):
        super().__init__(name="served_model")
        self._spec = source.spec
        self._top_k = min(top_k, len(source.labels))
        self._probabilities = _or_empty(probabilities(source))
        self._names = tf.constant([*source.labels, ""])  # the last one for what cannot be decoded
        self.parameters = [weight.value for weight in source.model.weights]
        self.assets = [tf.saved_model.Asset(str(path)) for path in asset_files]
        images = tf.TensorSpec([None, *source.spec.size, 3], tf.float32, name="images")
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
        self.predict_images = tf.function(self._predict_images, input_signature=[images])
        self.classify = tf.function(self._classify, input_signature=[encoded])

    def _predict_images(self, images):
        return {"probabilities": self._probabilities(images)}

    def _classify(self, image_bytes):
        images, decoded = decode_or_skip(image_bytes, self._spec)
        decoded = decoded[:, tf.newaxis]
        scores = tf.where(decoded, self._probabilities(images), 0.0)
        scores, class_ids = tf.math.top_k(scores, self._top_k, sorted=True)
        class_ids = tf.where(decoded, class_ids, -1)
        nameless = tf.size(self._names) - 1
        classes = tf.gather(self._names, tf.where(decoded, class_ids, nameless))
        return {"classes": classes, "scores": scores, "class_ids": class_ids}


def _or_empty(predict):
    """`predict` for empty batches too, which models cannot reshape: a black picture stands in and is cut off again."""

    def or_empty(images):
        batch = tf.shape(images)[0]
        filled = tf.cond(batch > 0, lambda: images, lambda: tf.zeros((1, *images.shape[1:])))
        return predict(filled)[:batch]

    return or_empty


def decode_or_skip(encoded, spec):
    """Encoded pictures (B) -> images (B, H, W, 3) in [0, 255], and bool (B): whether each could be decoded.

    A graph has no try; a data set of one picture whose errors are ignored, followed by a black stand-in, is one.
    Without the data set's own optimisations it costs less than half a millisecond per picture.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False

    def one(picture):
        attempt = tf.data.Dataset.from_tensors(picture)
        attempt = attempt.map(lambda b: (resize(decode_image(b), spec), True)).ignore_errors()
        stand_in = tf.data.Dataset.from_tensors((tf.zeros((*spec.size, 3)), False))
        return attempt.concatenate(stand_in).take(1).with_options(options).get_single_element()

    with tf.device("CPU:0"):
        result = (tf.TensorSpec((*spec.size, 3), tf.float32), tf.TensorSpec((), tf.bool))
        return tf.map_fn(one, encoded, fn_output_signature=result)


def export(source, output, name=None, top_k=5, expected=None):
    """Write the next version of the model under output/models/<name>/, checked; nothing stays if the check fails.

    Args:
        source: a `Source`.
        output: the bundle's folder.
        name: what the server calls the model; default the source's.
        top_k: classes answered per picture, at most all.
        expected: `parity.Expected` to check against; default on the source's own pictures.
    Returns: (path of the version, report).
    Raises: ValueError if name or top_k are not usable, or the saved model does not answer as the Keras model.
    """
    name = name or source.name
    if not NAME.fullmatch(name):
        raise ValueError(f"A served model's name has letters, digits and _ . - only. Received: {name!r}.")
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1. Received: {top_k}.")
    expected = expected or parity.expect(source)
    version = next_version(Path(output) / "models" / name)
    with atomic_folder(version) as temporary:
        save(source, temporary, top_k)
        report = {
            "model": name,
            "version": int(version.name),
            **parity.check_saved_model(temporary, expected, source),
        }
        path = temporary / REPORT
        path.parent.mkdir()
        path.write_text(json.dumps(report, indent=2) + "\n")
    return version, report


def save(source, path, top_k=5):
    """Write the SavedModel into the folder `path`, unchecked.

    Raises: OSError if it cannot be written (a full disk).
    """
    with tempfile.TemporaryDirectory() as folder:
        labels, spec = Path(folder, "labels.txt"), Path(folder, "preprocessing.json")
        labels.write_text("".join(f"{label}\n" for label in source.labels), encoding="utf-8")
        source.spec.save(spec)
        served = ServedModel(source, top_k, [labels, spec])
        signatures = {"serving_default": served.classify, "predict_images": served.predict_images}
        try:
            tf.saved_model.save(served, str(path), signatures=signatures)
        except tf.errors.OpError as error:
            raise OSError(f"The SavedModel could not be written to {path}: {error.message}") from error


def next_version(folder):
    """The folder of the first version number above all present ones."""
    present = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
    return folder / str(max(present, default=0) + 1)
