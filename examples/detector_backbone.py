"""A Swin and a CoaT as the backbone of KerasHub's RetinaNet, trained for two steps on synthetic rectangles.

KerasHub depends on TensorFlow Text and more, so it gets an environment of its own; from this repository's root:

    python3 -m venv .venv-hub
    .venv-hub/bin/python -m pip install "keras-hub==0.32.0" "keras==3.15.*" safetensors huggingface_hub pillow
    .venv-hub/bin/python -m examples.detector_backbone                 # new weights, a minute
    .venv-hub/bin/python -m examples.detector_backbone --weights imagenet

(run with TensorFlow 2.21.0 and TensorFlow Text 2.21.1, which the second line installs). A real run differs only in its
images, sizes and steps.
"""

import argparse

from keras_vit.system import startup

startup.set_environment("3")  # before TensorFlow is imported

import keras  # noqa: E402
import keras_hub  # noqa: E402
import numpy as np  # noqa: E402

import keras_vit  # noqa: E402

SIZE, CLASSES, STEPS = 128, 3, 2


def random_images(count, seed=0):
    """Normalised images with one bright rectangle each, and its box.

    Returns:
        (B, H, W, 3) float32, {"boxes": (B, 1, 4) in pixels as (y0, x0, y1, x1), "labels": (B, 1)}.
    """
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.3, (count, SIZE, SIZE, 3)).astype("float32")
    corners, sides = rng.integers(0, SIZE // 2, (count, 2)), rng.integers(SIZE // 4, SIZE // 2, (count, 2))
    labels = rng.integers(0, CLASSES, count)
    for image, (y, x), (height, width), label in zip(images, corners, sides, labels):
        image[y : y + height, x : x + width, label] += 2
    boxes = np.concatenate([corners, corners + sides], axis=1).astype("float32")
    return images, {"boxes": boxes[:, None], "labels": labels[:, None].astype("float32")}


def detector(name, weights=None):
    """A RetinaNet on the feature pyramid of a model of this library, from P3 (stride 8) to P7."""
    model = keras_vit.create_model(name, weights=weights, include_top=False, input_shape=(SIZE, SIZE, 3))
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=keras_vit.feature_pyramid(model),
        min_level=3,
        max_level=7,
        use_p5=False,
        image_shape=(SIZE, SIZE, 3),
    )
    return keras_hub.models.RetinaNetObjectDetector(
        backbone, num_classes=CLASSES, bounding_box_format="yxyx", preprocessor=None
    )


def train(net, images, boxes):
    """The loss of each step."""
    net.compile(optimizer=keras.optimizers.AdamW(1e-4, clipnorm=1.0))  # KerasHub's losses: Huber, and the focal loss
    history = net.fit(images, boxes, batch_size=len(images), epochs=STEPS, verbose=0)
    return history.history["loss"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", help='"imagenet" to start from the published weights')
    parser.add_argument("--models", nargs="+", default=["SwinT", "CoaTLiteTiny"])
    arguments = parser.parse_args()
    images, boxes = random_images(4)
    for name in arguments.models:
        net = detector(name, arguments.weights)
        levels = {level: tuple(x.shape[1:]) for level, x in net.backbone.image_encoder.pyramid_outputs.items()}
        print(f"{name}: {net.count_params():,} parameters, maps {levels}")
        losses = train(net, images, boxes)
        print(f"{name}: loss {' -> '.join(f'{loss:.3f}' for loss in losses)} in {STEPS} steps")


if __name__ == "__main__":
    main()
