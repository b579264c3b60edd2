"""A model and a data set small enough to be trained in a test."""

import keras
import numpy as np
from keras import layers
from PIL import Image

from keras_vit.models.family import dtype_scope
from keras_vit.sources.run_folder import Run
from keras_vit.training.recipe import Recipe
from keras_vit.training.run import checkpoint


class ToyVariant:
    """The interface of a variant, for a model of a few layers that is traced quickly."""

    name, config, image_size, tags = "Toy", "patch 2, 12 channels", (8, 8), ()

    def __call__(
        self,
        *,
        weights,
        input_shape,
        classes,
        classifier_activation="softmax",
        drop_rate=0.0,
        drop_path_rate=0.0,
        dtype=None,
    ):
        with dtype_scope(dtype):
            image = keras.Input(input_shape, name="image")
            x = layers.Conv2D(12, 2, strides=2, activation="relu", name="patch_embed")(image)
            x = layers.LayerNormalization(name="norm")(x)
            x = layers.Identity(name="block0")(x)
            x = layers.GlobalAveragePooling2D(name="pool")(x)
            x = layers.Dropout(drop_rate, name="drop")(x)
            head = layers.Dense(classes, classifier_activation, dtype="float32", name="head")
            return keras.Model(image, head(x), name="toy")


TOY = ToyVariant()
COLOURS = {"blue": (30, 60, 220), "green": (40, 200, 60), "red": (210, 40, 30)}


def recipe(**changes):
    """Two epochs of the toy model at 8 x 8 pixels."""
    values = {
        "model": "Toy",
        "variant": TOY,
        "dataset": "folder",
        "img_size": (8, 8),
        "epochs": 2,
        "batch_size": 8,
        "lr": 3e-3,
        "drop": 0.2,
        "shift": 0.1,
        "hflip": 0.5,
        "xla": False,
    }
    return Recipe(**values | changes)


def write_folder(folder, per_class=12, classes=tuple(COLOURS), side=10, seed=0):
    """Class folders with noisy images of one colour each."""
    generator = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            noise = generator.normal(0, 25, (side, side + i % 3, 3))
            pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


def write_manifest(folder, images=36, side=10, seed=0):
    """A manifest of noisy images whose quarters have colours of several classes, a few of them of none; its path."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines, names = ["path,label"], list(COLOURS)
    for i in range(images):
        chosen = [name for k, name in enumerate(names) if i % 9 % 2 ** (k + 1) >= 2**k]
        pixels = np.tile(generator.normal(128, 25, (side, side, 1)), (1, 1, 3))
        for quarter, name in enumerate(chosen):
            top, left = side // 2 * (quarter // 2), side // 2 * (quarter % 2)
            pixels[top : top + side // 2, left : left + side // 2] = COLOURS[name]
        Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(folder / f"{i:02d}.png")
        lines.append(f"{i:02d}.png,{'|'.join(chosen)}")
    path = folder / "images.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


SEVERAL = {  # settings of a run with several labels, with everything that only such a run has
    **{"dataset": "csv", "loss": "asymmetric", "class_weights": "effective", "sampler": "balanced"},
    **{"temperature_scaling": True, "unknown_score": "energy"},
}


def last(folder):
    """Arrays of the newest checkpoint of a run, and its history without durations."""
    _, arrays, state = checkpoint.Store(folder / "checkpoints", 2).load_newest()
    clock = {"seconds", "images_per_second"}
    return arrays, [{name: value for name, value in row.items() if name not in clock} for row in state["history"]]


def assert_same_run(one, other):
    """The same history, state and model, to the bit."""
    (first, rows), (second, others) = last(one), last(other)
    assert rows == others and set(first) == set(second)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    for a, b in zip(*(Run.open(folder).load_model().get_weights() for folder in (one, other))):
        np.testing.assert_array_equal(a, b)
