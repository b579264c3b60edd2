"""One classifier of normalised images, in the many forms in which people save a model that takes something else.

`WRAPPINGS` maps a name to (function: the classifier, its `Spec` -> a Keras model that computes the same; the values
that this model takes). A wrapping is the classifier behind the inverse of what is fed to it: no weights change.
"""

import keras
import numpy as np
from keras import layers, ops

import keras_vit
from keras_vit.preprocessing import Spec

SPEC = Spec((8, 10), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def classifier(first=None, dtype=None):
    """A small network of images normalised by SPEC, with another first layer."""
    image = keras.Input((*SPEC.size, 3))
    x = first(image) if first else layers.Conv2D(4, 3, name="stem", dtype=dtype)(image)
    x = layers.GlobalAveragePooling2D()(layers.Activation("gelu", dtype=dtype)(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", dtype=dtype)(x), name="inner")


@keras.saving.register_keras_serializable("tests")
class Standardize(layers.Layer):
    """Somebody's own layer without weights."""

    def __init__(self, mean, std, **kwargs):
        super().__init__(**kwargs)
        self.mean, self.std = mean, std

    def call(self, images):
        return (images / 255.0 - ops.array(self.mean, "float32")) / ops.array(self.std, "float32")


@keras.saving.register_keras_serializable("tests")
class Whole(keras.Model):
    """A subclassed model that normalises in its call."""

    def __init__(self, classifier, mean, std, **kwargs):
        super().__init__(**kwargs)
        self.classifier = classifier
        self.mean, self.std = mean, std

    def call(self, images):
        return self.classifier((images / 255.0 - ops.array(self.mean)) / ops.array(self.std))

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.classifier)
        return {"classifier": inner, "mean": self.mean, "std": self.std, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("classifier")), **config)


@keras.saving.register_keras_serializable("tests")
def half_and_half(images):
    """What a Lambda of [-1, 1] does."""
    return images / 127.5 - 1.0


def image_of(inner, **settings):
    return keras.Input(tuple(inner.inputs[0].shape[1:]), **settings)


def behind(*steps, **settings):
    """The classifier behind functions of (x, spec)."""

    def wrap(inner, spec):
        image = x = image_of(inner, **settings)
        for step in steps:
            x = step(x, spec)
        return keras.Model(image, inner(x))

    return wrap


def rescaling(name=None):
    def step(x, spec):
        scale, offset = 1 / (255 * np.array(spec.std)), -np.array(spec.mean) / spec.std
        return layers.Rescaling(scale.tolist(), offset.tolist(), name=name)(x)

    return step


def augmentation(x, spec):
    x = layers.RandomFlip("horizontal")(x)
    x = layers.RandomRotation(0.1)(x)
    x = layers.RandomContrast(0.2, value_range=(0, 255))(x)
    return layers.RandomBrightness(0.2, value_range=(0, 255))(x)


def normalization(x, spec):
    variance = np.square(spec.std)
    return layers.Normalization(mean=list(spec.mean), variance=variance.tolist())(x)


def normalization_of_pixels(x, spec):
    mean, std = 255 * np.array(spec.mean), 255 * np.array(spec.std)
    return layers.Normalization(mean=mean.tolist(), variance=np.square(std).tolist())(x)


def unscale_from(scale, offset):
    """From scale * pixel + offset to normalised values, by a convolution with fixed weights: not an affine layer."""

    def step(x, spec):
        gain = 1 / (255 * np.array(spec.std) * scale)
        bias = -np.array(spec.mean) / spec.std - gain * offset
        conv = layers.Conv2D(3, 1, kernel_initializer=keras.initializers.Constant(0.0), name="recolour")
        y = conv(x)
        conv.set_weights([np.diag(gain)[None, None].astype("float32"), bias.astype("float32")])
        return y

    return step


def batch_norm(mean, std):
    """A BatchNormalization in front of all weights, with these statistics of what it is given; it gives x again."""

    def step(x, spec):
        layer = layers.BatchNormalization(epsilon=1e-6)
        y = layer(x)
        three = np.ones(3, "float32")
        layer.set_weights([std * three, mean * three, mean * three, std**2 * three])
        return y

    return step


def sequential(inner, spec):
    scale, offset = 1 / (255 * np.array(spec.std)), -np.array(spec.mean) / spec.std
    return keras.Sequential(
        [image_of(inner), layers.RandomFlip(), layers.Rescaling(scale.tolist(), offset.tolist()), inner]
    )


def sequential_without_an_input(inner, spec):
    scale, offset = 1 / (255 * np.array(spec.std)), -np.array(spec.mean) / spec.std
    model = keras.Sequential([layers.Rescaling(scale.tolist(), offset.tolist()), inner])
    model(np.zeros((1, *inner.inputs[0].shape[1:]), "float32"))
    return model


def nested(inner, spec):
    """A preprocessing model in front of the classifier, both inside two more models."""
    image = image_of(inner)
    before = keras.Model(image, rescaling()(augmentation(image, spec), spec), name="before")
    outer = image_of(inner)
    whole = keras.Model(outer, inner(before(outer)), name="whole")
    return keras.Sequential([image_of(inner), whole])


def subclassed(inner, spec):
    model = Whole(inner, list(spec.mean), list(spec.std))
    model(np.zeros((1, *inner.inputs[0].shape[1:]), "float32"))
    return model


def frozen(inner, spec):
    model = behind(rescaling())(inner, spec)
    model.trainable = False
    return model


def tricky_names(inner, spec):
    """A layer called "normalization" that does not normalise."""
    image = image_of(inner)
    return keras.Model(image, inner(layers.Activation("linear", name="normalization")(image)))


WRAPPINGS = {
    "zoo": (behind(rescaling("normalization")), "pixels"),
    "other_name": (behind(rescaling()), "pixels"),
    "augmentation": (behind(augmentation, rescaling("normalization")), "pixels"),
    "resizing": (behind(lambda x, s: layers.Resizing(*s.size)(x), rescaling("normalization")), "pixels"),
    "crop_and_pad": (
        behind(lambda x, s: layers.ZeroPadding2D(2)(x), lambda x, s: layers.CenterCrop(*s.size)(x), rescaling()),
        "pixels",
    ),
    "rescaling_then_normalization": (behind(lambda x, s: layers.Rescaling(1 / 255)(x), normalization), "pixels"),
    "normalization_of_pixels": (behind(normalization_of_pixels), "pixels"),
    "preprocess_input": (behind(lambda x, s: keras_vit.preprocess_input(x, s)), "pixels"),
    "lambda": (behind(lambda x, s: layers.Lambda(half_and_half)(x), unscale_from(1 / 127.5, -1.0)), "pixels"),
    "ops": (behind(lambda x, s: (x / 255.0 - np.float32(s.mean)) / np.float32(s.std)), "pixels"),
    "own_layer": (behind(lambda x, s: Standardize(list(s.mean), list(s.std))(x)), "pixels"),
    "clip": (behind(lambda x, s: ops.clip(x, 0.0, 255.0), rescaling()), "pixels"),
    "uint8": (behind(lambda x, s: ops.cast(x, "float32"), rescaling(), dtype="uint8"), "pixels"),
    "uint8_into_weights": (
        behind(lambda x, s: ops.cast(x, "float32"), unscale_from(1.0, 0.0), dtype="uint8"),
        "pixels",
    ),
    "mean_subtracted": (
        behind(
            lambda x, s: x - np.float32([124.0, 117.0, 104.0]), unscale_from(1.0, np.array([-124.0, -117.0, -104.0]))
        ),
        "pixels",
    ),
    "tenth": (behind(lambda x, s: layers.Rescaling(1 / 25.5)(x), unscale_from(1 / 25.5, 0.0)), "pixels"),
    "sequential": (sequential, "pixels"),
    "sequential_without_an_input": (sequential_without_an_input, "pixels"),
    "nested": (nested, "pixels"),
    "subclassed": (subclassed, "pixels"),
    "frozen": (frozen, "pixels"),
    "batch_norm_of_pixels": (behind(batch_norm(110.0, 60.0), rescaling()), "pixels"),
    "unit": (behind(normalization), "unit"),
    "unit_to_two": (behind(lambda x, s: layers.Rescaling(2.0, -1.0)(x), unscale_from(1 / 127.5, -1.0)), "unit"),
    "unit_to_pixels": (behind(lambda x, s: layers.Rescaling(255.0)(x), unscale_from(1.0, 0.0)), "unit"),
    "unit_and_clip": (behind(lambda x, s: ops.clip(x, 0.0, 1.0), normalization), "unit"),
    "batch_norm_of_unit": (behind(batch_norm(0.45, 0.27), normalization), "unit"),
    "plain": (lambda inner, spec: inner, "normalized"),
    "called_normalization": (tricky_names, "normalized"),
    "batch_norm_of_normalized": (behind(batch_norm(0.1, 1.1)), "normalized"),
    "resized_normalized": (behind(lambda x, s: layers.Resizing(*s.size)(x)), "normalized"),
}
