"""Models of any size as the backbone of KerasHub's RetinaNet, trained on two batches of different sizes.

Swin, ConvNeXt, CoaT, PVT v2, ViT and DINOv2, whose patches of 14 pixels become ones of 16, learn synthetic rectangles;
then boxes are predicted for images of a third size.

KerasHub depends on TensorFlow Text and more, so it gets an environment of its own; from this repository's root:

    python3 -m venv .venv-hub
    .venv-hub/bin/python -m pip install "keras-hub==0.32.0" "keras==3.15.*" safetensors huggingface_hub pillow
    .venv-hub/bin/python -m examples.detector_backbone                 # new weights, some minutes
    .venv-hub/bin/python -m examples.detector_backbone --weights imagenet --models SwinT

(run with TensorFlow 2.21.0 and TensorFlow Text 2.21.1, which the second line installs). A real run differs only in its
images, sizes and steps.
"""

import argparse

from keras_vit.system import startup

startup.set_environment("3")  # before TensorFlow is imported

import keras  # noqa: E402
import keras_hub  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402

import keras_vit  # noqa: E402

SIZES, OTHER_SIZE, CLASSES = ((128, 160), (160, 128)), (96, 192), 3
MODELS = ("SwinT", "ConvNeXtAtto", "CoaTLiteTiny", "PVTV2B0", "ViTTi16", "DINOv2S")
PATCH_SIZES = {"DINOv2S": 16}


class AnchorsOfAnySize(keras_hub.layers.AnchorGenerator):
    """KerasHub's anchors; its own generator (0.32.0) needs the size of the images when the graph is made."""

    def call(self, images):
        height, width = ops.shape(images)[1:3]
        anchors = {}
        for level in range(self.min_level, self.max_level + 1):
            rows, columns = ops.meshgrid(_places(height, level), _places(width, level), indexing="ij")
            x, y = ops.reshape(columns, (-1, 1, 1)), ops.reshape(rows, (-1, 1, 1))
            sides = [int(2**level * self.anchor_size * 2 ** (i / self.num_scales)) for i in range(self.num_scales)]
            boxes = ops.concatenate([x, y, x, y], axis=-1) + self.generate_base_anchors(sides, self.aspect_ratios)
            anchors[f"P{level}"] = keras.utils.bounding_boxes.convert_format(
                ops.reshape(boxes, (-1, 4)), source="xyxy", target=self.bounding_box_format
            )
        return anchors


def _places(side, level):
    """Where the anchors of a level stand along a side of the image, in pixels."""
    count = -(-side // 2**level)
    return ops.cast(ops.arange(count) * (side // count), "float32")


def random_images(count, size, seed=0):
    """Normalised images with one bright rectangle each, and its box.

    Returns:
        (B, H, W, 3) float32, {"boxes": (B, 1, 4) in pixels as (y0, x0, y1, x1), "labels": (B, 1)}.
    """
    rng, short = np.random.default_rng(seed), min(size)
    images = rng.normal(0, 0.3, (count, *size, 3)).astype("float32")
    corners, sides = rng.integers(0, short // 2, (count, 2)), rng.integers(short // 4, short // 2, (count, 2))
    labels = rng.integers(0, CLASSES, count)
    for image, (y, x), (height, width), label in zip(images, corners, sides, labels):
        image[y : y + height, x : x + width, label] += 2
    boxes = np.concatenate([corners, corners + sides], axis=1).astype("float32")
    return images, {"boxes": boxes[:, None], "labels": labels[:, None].astype("float32")}


def detector(name, weights=None):
    """A RetinaNet on the feature pyramid of a model of this library, from P3 (stride 8) to P7, for any size."""
    options = {"weights": weights, "include_top": False, "input_shape": (None, None, 3)}
    if name in PATCH_SIZES:
        options["patch_size"] = PATCH_SIZES[name]
    model = keras_vit.create_model(name, **options)
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=keras_vit.feature_pyramid(model),
        min_level=3,
        max_level=7,
        use_p5=False,
        image_shape=(None, None, 3),
    )
    anchors = AnchorsOfAnySize(
        "yxyx", min_level=3, max_level=7, num_scales=3, aspect_ratios=[0.5, 1.0, 2.0], anchor_size=4
    )
    return keras_hub.models.RetinaNetObjectDetector(
        backbone, num_classes=CLASSES, bounding_box_format="yxyx", anchor_generator=anchors, preprocessor=None
    )


def train(net, batches):
    """The mean loss of a step for each batch, all in one graph."""
    import tensorflow as tf

    batch = (
        tf.TensorSpec((None, None, None, 3)),
        {"boxes": tf.TensorSpec((None, None, 4)), "labels": tf.TensorSpec((None, None))},
    )
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=batch)
    net.compile(optimizer=keras.optimizers.AdamW(1e-4, clipnorm=1.0))  # KerasHub's losses: Huber, and the focal loss
    return net.fit(dataset.apply(tf.data.experimental.assert_cardinality(len(batches))), verbose=0).history["loss"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", help='"imagenet" to start from the published weights')
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    arguments = parser.parse_args()
    batches = [random_images(2, size, seed) for seed, size in enumerate(SIZES)]
    images, _ = random_images(2, OTHER_SIZE, seed=len(SIZES))
    for name in arguments.models:
        net = detector(name, arguments.weights)
        maps = {level: x.shape[-1] for level, x in net.backbone.image_encoder.pyramid_outputs.items()}
        print(f"{name}: {net.count_params():,} parameters, channels {maps}")
        loss = train(net, batches)
        found = net.predict(images, verbose=0)
        scores = ops.convert_to_numpy(net(images)["cls_logits"])  # sides of boxes are exponentials, which may overflow
        if not np.isfinite(loss) or not np.isfinite(scores).all():
            raise SystemExit(f"{name}: loss {loss}, scores from {scores.min()} to {scores.max()}")
        sizes = " and ".join(f"{height} x {width}" for height, width in SIZES)
        print(f"{name}: loss {loss:.3f} on {sizes}, boxes {found['boxes'].shape} on {OTHER_SIZE[0]} x {OTHER_SIZE[1]}")


if __name__ == "__main__":
    main()
