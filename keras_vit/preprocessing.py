"""From a picture to what a model takes: one `Spec` for training, evaluation, serving and edge.

    decode -> resize (antialiased, as PIL) -> centre crop -> x / 255 -> (x - mean) / std

Decoding and resizing are TensorFlow operations, so that the same function runs in a data pipeline
and inside a SavedModel; they follow the PIL chain that the published accuracies were measured with
(torchvision's and timm's evaluation transforms) to within rounding. Normalising is `keras.ops` and
runs on every backend.
Letters: B batch, H W grid, C channels; a picture as it comes is H0 W0 C.
"""

import dataclasses
import json
import math
import os
import struct
import sys
from pathlib import Path

import numpy as np

CROP_MODES = ("center", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")
BROKEN_PICTURE = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what PIL raises


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a set of weights expects of its pictures."""

    size: tuple[int, int]  # H, W in pixels
    mean: tuple[float, float, float]  # per channel R, G, B, of values in [0, 1]
    std: tuple[float, float, float]
    crop_pct: float = 1.0  # the crop's side as a share of the resized short side, in (0, 1]
    crop_mode: str = "center"  # center: keep the aspect ratio, cut the sides; squash: give it up, keep all
    interpolation: str = "bicubic"

    def __post_init__(self):
        for field, length, kind in (("size", 2, int), ("mean", 3, float), ("std", 3, float)):
            object.__setattr__(self, field, _numbers(field, getattr(self, field), length, kind))
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ValueError(f"size and std must be positive. Received: size={self.size}, std={self.std}.")
        if not isinstance(self.crop_pct, (int, float)) or not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must be a number in (0, 1]. Received: crop_pct={self.crop_pct!r}.")
        if self.crop_mode not in CROP_MODES:
            raise ValueError(f"crop_mode must be one of {CROP_MODES}. Received: {self.crop_mode!r}.")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {INTERPOLATIONS}. Received: {self.interpolation!r}.")

    def to_json(self):
        """A plain dictionary that `json.dump` takes."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, entries):
        """The inverse of `to_json`; an unknown or missing entry is a ValueError."""
        if not isinstance(entries, dict):
            raise ValueError(f"A preprocessing spec is a JSON object. Received: {entries!r}.")
        fields = dataclasses.fields(cls)
        unknown = sorted(set(entries) - {field.name for field in fields})
        missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in entries]
        if unknown or missing:
            raise ValueError(
                f"A preprocessing spec has the entries {[field.name for field in fields]}. "
                f"Missing: {missing}; unknown: {unknown}."
            )
        return cls(**entries)

    def save(self, path):
        """Write the spec as JSON, whole or not at all."""
        from keras_vit.files import atomic_file

        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; a file that is no spec is a ValueError naming it."""
        try:
            return cls.from_json(json.loads(Path(path).read_text()))
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            raise ValueError(f"{path} is not a preprocessing spec: {error}") from error


def normalize(images, spec):
    """(x / 255 - mean) / std in float32, for images (..., H, W, C) in [0, 255].

    For a channel count other than 3, every channel gets the mean of the spec's three means, and of
    its three stds. A numpy array gives a numpy array, a tensor a tensor, a symbolic Keras tensor a
    symbolic one.
    """
    images = images if hasattr(images, "shape") else np.asarray(images)
    _refuse_channels_first(images)
    mean, std = (_per_channel(values, images.shape[-1]) for values in (spec.mean, spec.std))
    if isinstance(images, np.ndarray):
        return (images.astype("float32") / np.float32(255) - mean) / std
    if _is_tensorflow(images):  # also inside tf.data while Keras runs on another backend
        import tensorflow as tf

        return (tf.cast(images, tf.float32) / 255.0 - mean) / std
    from keras import ops

    return ops.divide(ops.subtract(ops.divide(ops.cast(images, "float32"), 255.0), mean), std)


def normalizes_inside(model):
    """Whether a Keras model takes pixels in [0, 255] and normalises them itself, as include_preprocessing builds it.

    Told by the layer behind the input, which is called "normalization" then; so too in a model that is a layer itself.
    """
    import keras

    first = next((layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)), None)
    if isinstance(first, keras.Model):
        return normalizes_inside(first)
    return first is not None and first.name == "normalization"


def resize(image, spec):
    """Resize and crop one picture, or a batch of one size, to the spec; TensorFlow, graph or eager.

    The short side becomes floor(size / crop_pct) and the centre is cut out; "squash" stretches both
    sides instead. The filter is widened when it shrinks (antialiasing). PIL works along W first,
    then along H, and keeps whole numbers in [0, 255] after each; done so here too, the mean
    difference from PIL on photographs is below 0.01 of 255, while both axes at once with a single
    rounding leave 0.15.
    Note: Pillow 13 takes H first where that is much less work ("squash" of tall pictures); earlier
    ones, which the published accuracies were measured with, never do.

    Args:
        image: uint8 or float in [0, 255], (H0, W0, C) or (..., H0, W0, C); H0 and W0 may be
            unknown in a graph.
    Output: float32 (H, W, C) or (..., H, W, C), whole numbers in [0, 255].
    """
    import tensorflow as tf

    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8:  # whose float copy would be the largest thing in memory
        image = tf.cast(image, tf.float32)
    if image.shape.rank is None or image.shape.rank < 3:
        raise ValueError(f"Pictures are (..., H0, W0, C). Received shape: {image.shape}.")
    if image.shape.rank > 4:
        flat = tf.reshape(image, tf.concat([[-1], tf.shape(image)[-3:]], 0))
        shape = tf.concat([tf.shape(image)[:-3], spec.size, tf.shape(image)[-1:]], 0)
        return tf.reshape(resize(flat, spec), shape)
    H0, W0 = tf.unstack(tf.shape(image)[-3:-1])
    height, width = _resized(H0, W0, spec)
    H, W = spec.size
    top, left = _margin(height, H), _margin(width, W)
    image = _resample(image, H0, width, spec.interpolation)[..., left : left + W, :]
    image = _resample(image, height, W, spec.interpolation)[..., top : top + H, :, :]
    return tf.ensure_shape(image, [*image.shape[:-3], H, W, image.shape[-1]])


def _resized(H0, W0, spec):
    """Height and width between resizing and cropping: the numbers torchvision and timm come to."""
    import tensorflow as tf

    h, w = (math.floor(side / spec.crop_pct) for side in spec.size)
    if spec.crop_mode == "squash":
        return h, w
    if h == w:  # torchvision's Resize: the long side is rounded down
        short = tf.minimum(H0, W0)
        return h * H0 // short, h * W0 // short
    H0, W0 = tf.cast(H0, tf.float64), tf.cast(W0, tf.float64)  # timm's ResizeKeepRatio: rounded
    ratio = tf.minimum(H0 / h, W0 / w)
    return tf.cast(tf.round(H0 / ratio), tf.int32), tf.cast(tf.round(W0 / ratio), tf.int32)


def _margin(length, crop):
    """Pixels before a centre crop: half of the surplus, rounded half to even as Python does."""
    import tensorflow as tf

    return tf.cast(tf.round(tf.cast(length - crop, tf.float32) / 2), tf.int32)


def _resample(image, height, width, interpolation):
    import tensorflow as tf

    size = tf.stack([height, width])
    image = tf.cast(tf.image.resize(image, size, method=interpolation, antialias=True), tf.float32)
    return tf.clip_by_value(tf.round(image), 0.0, 255.0)  # bicubic overshoots at edges


def decode_image(encoded):
    """Bytes of a JPEG, PNG, BMP or GIF (first frame) -> uint8 (H0, W0, 3), in TensorFlow.

    JPEG is decoded with the accurate transform, which gives PIL's pixels exactly (TensorFlow's
    default is off by 1 of 255 on average), and turned upright where its EXIF orientation asks for
    it. Transparency is dropped.
    """
    import tensorflow as tf

    from keras_vit.exif import orientation, turn_upright

    def jpeg():
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
        return turn_upright(image, orientation(encoded))

    def other():
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(encoded), jpeg, other), [None, None, 3])


def decode_and_resize(encoded, spec):
    """Encoded pictures, string (B,) -> float32 (B, H, W, 3), whole numbers in [0, 255].

    For data pipelines and serving graphs; normalising is left to the model's side.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):  # neither the decoders nor the antialiased resize exist for GPUs
        return tf.map_fn(
            lambda one: resize(decode_image(one), spec),
            encoded,
            fn_output_signature=tf.TensorSpec((*spec.size, 3), tf.float32),
        )


def read_image(path):
    """A picture's path, or an open binary file -> numpy uint8 (H0, W0, 3), RGB, upright by EXIF.

    Raises: ValueError naming the file if it is truncated or no picture; OSError if it cannot be
        opened.
    """
    from PIL import Image, ImageOps

    name = getattr(path, "name", path)
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # 16 bits: keep the upper 8, as decode_image does
                image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            return np.array(image.convert("RGB"))
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*BROKEN_PICTURE, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} cannot be read as a picture: {error}") from error


def preprocess_input(x, spec):
    """Make pictures ready for a model: resized if they have not the spec's size, then normalised.

    Args:
        x: (..., H, W, C) in [0, 255]: a numpy array or a tensor, uint8 or float. A picture that has
            the spec's size already is not cropped.
        spec: a `Spec`; a model's name, with or without a weight tag ("SwinT",
            "SwinT.ms_in22k_ft_in1k", or timm's name for it); a run folder; or a preprocessing.json.
    Output: float32 (..., H, W, C), of the kind that `x` is.
    """
    spec = resolve_spec(spec)
    x = x if hasattr(x, "shape") else np.asarray(x)
    _refuse_channels_first(x)
    if any(side not in (None, wanted) for side, wanted in zip(x.shape[-3:-1], spec.size)):
        x = _resized_like(x, spec)
    return normalize(x, spec)


def resolve_spec(spec):
    """The `Spec` that a Spec, a run folder, a JSON file or a model's name[.tag] stands for."""
    if isinstance(spec, Spec):
        return spec
    if not isinstance(spec, (str, os.PathLike)):
        raise ValueError(
            "spec must be a keras_vit.preprocessing.Spec, a model's name, a run folder or a "
            f"preprocessing.json. Received: {spec!r}."
        )
    if os.path.isdir(spec):
        from keras_vit.runs import Run

        return Run.open(spec).spec
    if str(spec).endswith(".json") or os.path.isfile(spec):
        return Spec.load(spec)
    return resolve_row(str(spec)).spec


def resolve_row(name):
    """The catalogue's row for "SwinT" (its default weights), "SwinT.tag", or a timm name.

    A timm name without a tag ("vit_base_patch16_384") stands for the weights of that very name.
    """
    from keras_vit.weights import catalogue
    from keras_vit.zoo import lookup

    variant, row = lookup(name)
    if row is not None:
        return row
    rows = catalogue.rows(variant.name)
    own = [row for row in rows if row.timm_name and row.timm_name.partition(".")[0] == name]
    if own and not any(row.default for row in own):
        return own[0]
    return catalogue.default(variant.name)


def _resized_like(x, spec):
    """Resize what numpy or a backend holds, and give back the same kind."""
    import keras

    if isinstance(x, keras.KerasTensor):
        raise ValueError(
            f"A symbolic tensor of shape {x.shape} cannot be resized to {spec.size} here; build "
            f"the model with input_shape={(*spec.size, x.shape[-1])}, or resize before."
        )
    if _is_tensorflow(x):
        return resize(x, spec)
    if isinstance(x, np.ndarray):
        return resize(x, spec).numpy()
    return keras.ops.convert_to_tensor(resize(keras.ops.convert_to_numpy(x), spec).numpy())


def _refuse_channels_first(images):
    import keras

    shape = tuple(images.shape)
    if len(shape) < 3:
        raise ValueError(f"Pictures are (..., H, W, C). Received shape: {shape}.")
    if keras.config.image_data_format() == "channels_first":
        raise ValueError(
            'keras_vit works with channels last, and image_data_format is "channels_first"; '
            'call keras.config.set_image_data_format("channels_last").'
        )
    if shape[-3] in (1, 3) and shape[-1] is not None and shape[-1] > 4:
        raise ValueError(
            f"Expected channels last, (..., H, W, C). Received shape {shape}, which looks like "
            "channels_first; move the channels to the end, as numpy.moveaxis(x, -3, -1) does."
        )


def _per_channel(values, channels):
    values = values if channels in (3, None) else [sum(values) / 3] * channels
    return np.asarray(values, "float32")


def _is_tensorflow(x):
    """Whether x is a TensorFlow tensor; without importing TensorFlow to find out."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and tensorflow.is_tensor(x)


def _numbers(field, values, length, kind):
    try:
        numbers = tuple(kind(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != length or any(number != value for number, value in zip(numbers, values)):
        raise ValueError(f"{field} must be {length} numbers ({kind.__name__}). Received: {values!r}.")
    return numbers
