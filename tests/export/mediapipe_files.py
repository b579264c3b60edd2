"""Toys as .tflite files with metadata, float and uint8: python -m tests.export.mediapipe_files DIR

    DIR/NAME.tflite   NAME_images.npy: uint8 (N, H, W, 3)   NAME_answers.npy: (N, K), LiteRT's   NAME_labels.json

mediapipe_classify.py asks MediaPipe about them, in an environment of its own.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_vit.export import metadata, tflite
from keras_vit.export.source import Source
from keras_vit.predictor import open_predictor
from keras_vit.preprocessing import Spec
from tests.export import toys
from tests.models.toys import TOYS

FAMILIES = ("vit", "swin", "convnext")


def write(folder):
    """Write the toy of this folder in float and uint8, and a few families' toys in float."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = Spec(toys.SIZE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    toy = Source(toys.toy_model(), spec, toys.LABELS, "toy")
    write_file(folder, "toy_float", toy, integer=False)
    write_file(folder, "toy_uint8", toy, integer=True)
    for name in FAMILIES:
        variant, shape = TOYS[name]
        model = variant(weights=None, input_shape=shape, classes=5)
        model.layers[-1].kernel.assign(8 * model.layers[-1].kernel)  # so that the answers differ
        spec = Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
        write_file(folder, name, Source(model, spec, tuple("abcde"), name), integer=False)


def write_file(folder, name, source, integer):
    images = np.random.default_rng(0).integers(0, 256, (8, *source.spec.size, 3), dtype=np.uint8)
    path = folder / f"{name}.tflite"
    path.write_bytes(metadata.embed(converted(source, images, integer), source, name, "int8" if integer else "none"))
    answers = open_predictor(path, source.spec, source.labels).predict_prepared(images.astype("float32"))
    np.save(folder / f"{name}_images.npy", images)
    np.save(folder / f"{name}_answers.npy", answers)
    (folder / f"{name}_labels.json").write_text(json.dumps(source.labels))


def converted(source, images, integer):
    """Bytes of the .tflite file; integer: all of it in int8, but for uint8 input and output."""
    with tempfile.TemporaryDirectory() as static:
        tflite.save_static(source, static)
        converter = tf.lite.TFLiteConverter.from_saved_model(static)
        if integer:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[np.newaxis].astype("float32")] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        return converter.convert()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
