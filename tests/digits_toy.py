"""A run of the embedded digits that trains in seconds, for what shows in the accuracy alone."""

import keras
import numpy as np

from keras_vit.preprocessing import Spec, decode_image, normalize
from keras_vit.sources.run_folder import Run
from keras_vit.training.datasets import digits

SPEC = Spec((8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGES = 120  # of the test split


def pixels(split):
    return np.stack([decode_image(split.read(i)).numpy() for i in range(len(split))])


def classifier():
    """A small convolutional network of normalised digits, untrained."""
    return keras.Sequential(
        [
            keras.Input((*SPEC.size, 3)),
            keras.layers.Conv2D(24, 3, activation="relu", name="stem"),
            keras.layers.Conv2D(32, 3, activation="relu", name="middle"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="head"),
        ],
        name="digits",
    )


def write_run(folder):
    """Train, and write the run folder with its test images; they also lie in class folders, below by_class/."""
    data = digits.load()
    keras.utils.set_random_seed(2)
    model = classifier()
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(normalize(pixels(data.train), SPEC), data.train.labels, 128, epochs=10, verbose=0)
    Run.write_description(folder, name="digits", model_name="Toy", labels=data.classes, spec=SPEC)
    model.save(folder / "model.keras")
    listed = []
    for number in range(IMAGES):
        label = int(data.test.labels[number])
        path = folder / "by_class" / data.classes[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.test.read(number))
        listed.append((path, label))
    Run.write_test_images(folder, listed)
    return folder


def unwrapped(run):
    """The run's model, as loaded for wrapping: calls of it do not change the run."""
    return Run.open(run).load_model()
