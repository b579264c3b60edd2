"""A toy model, images that it distinguishes, and a run folder of both."""

import keras
import numpy as np
from PIL import Image

from keras_vit.export.parity import replay
from keras_vit.preprocessing import Spec, decode_image, normalize, resize
from keras_vit.sources.run_folder import Run

LABELS = ("zero", "one", "two", "three", "vier", "fünf")
SIZE = (16, 24)  # H, W: not square, so that a swap shows
SPEC = Spec(SIZE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), crop_pct=0.9)


def toy_model(classes=len(LABELS), activation="softmax", dtype=None, layer=None):
    """A small convolutional classifier with weights large enough for clear results."""
    keras.utils.set_random_seed(3)
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Conv2D(32, 4, strides=4, dtype=dtype, name="stem")(image)
    x = keras.layers.Activation("gelu", dtype=dtype, name="gelu")(x)
    x = layer(x) if layer else x
    x = keras.layers.GlobalAveragePooling2D(dtype=dtype, name="pool")(x)
    x = keras.layers.Dense(64, activation="gelu", dtype=dtype, name="hidden")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name="norm")(x)
    wide = keras.initializers.RandomNormal(stddev=0.5)
    head = keras.layers.Dense(classes, activation=activation, kernel_initializer=wide, dtype=dtype, name="head")
    return keras.Model(image, head(x), name="toy")


def write_images(folder, number, seed=0):
    """Images of one colour with some noise, of several sizes, PNG and JPEG in turn."""
    draw, paths = np.random.default_rng(seed), []
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(number):
        height, width = draw.integers(20, 60, 2)
        pixels = draw.integers(0, 256, 3) + draw.normal(0, 10, (height, width, 3))
        path = folder / f"{i:02}.{('png', 'jpg')[i % 2]}"
        Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(path)
        paths.append(path)
    return paths


def write_run(folder, model, number=12):
    """The run folder of `model`; the last test image has a label that the model does not predict."""
    Run.write_description(folder, name="toys", model_name="Toy", labels=LABELS, spec=SPEC)
    model.save(folder / "model.keras")
    paths = write_images(folder / "held_out", number)
    best = np.asarray(model(_inputs(paths))).argmax(-1)
    best[-1] = (best[-1] + 1) % len(LABELS)
    Run.write_test_images(folder, zip(paths, best))
    return folder


def write_several(folder, number=12, score="energy"):
    """The run folder of a toy with several labels per image and a score of known images.

    No probability is near its threshold. One test image has no label, and the two that are known least are unknown.
    """
    model, paths = toy_model(activation="sigmoid"), write_images(folder / "held_out", number)
    head = model.get_layer("head")
    body = keras.Model(model.input, head.input)
    logits = np.asarray(body(_inputs(paths))) @ np.asarray(head.kernel)  # the bias is 0
    probabilities = 1 / (1 + np.exp(-logits))
    thresholds = np.array([widest_gap(column) for column in probabilities.T])
    lonely = np.where((probabilities >= thresholds).sum(-1) == 1, probabilities.max(-1), 1).argmin()
    thresholds = np.where(probabilities[lonely] >= thresholds, (1 + probabilities[lonely]) / 2, thresholds)
    known = np.sort(np.log(np.exp(logits).sum(-1)) if score == "energy" else logits.max(-1))
    unknown = {"score": score, "threshold": float(known[1:3].mean()), "kept": 0.8}
    details = {"multi_label": True, "thresholds": thresholds.tolist(), "temperature": 1.0}
    Run.write_description(
        folder, name="several", model_name="Toy", labels=LABELS, spec=SPEC, details={**details, "unknown": unknown}
    )
    model.save(folder / "model.keras")
    numbers = [tuple(np.flatnonzero(row >= thresholds).tolist()) for row in probabilities]
    Run.write_test_images(folder, zip(paths, numbers))
    return folder


def widest_gap(values):
    """The middle of the widest gap between sorted values."""
    values = np.sort(values)
    place = np.diff(values).argmax()
    return float(values[place : place + 2].mean())


def _inputs(paths):
    return normalize(np.stack([resize(decode_image(path.read_bytes()), SPEC) for path in paths]), SPEC)


def replay_here(artifacts, expected, *_):
    """`parity.replay_all` of SavedModels in this process, which has TensorFlow already."""
    import tensorflow as tf

    request = {"files": expected.files, "threads": tf.config.threading.get_intra_op_parallelism_threads(), "runs": 0}
    return [replay.replay_saved_model(str(path), expected.images, request) for _, path in artifacts]
