"""Which values a Keras model takes, and images as it takes them.

    pixels       [0, 255]: the model normalises them itself
    unit         [0, 1]
    normalized   what the mean and the standard deviation of its `Spec` give

A model's file does not say it, and the names of its layers prove nothing. It follows from what the model computes: the
layers before its first weights are its preprocessing, and constant images show what map they are. `find_input_values`
runs the model up to those weights on a few images and looks at what they are given.
"""

import contextlib
import dataclasses
from dataclasses import dataclass

import numpy as np

from keras_vit.preprocessing.normalization import as_float32, normalize
from keras_vit.preprocessing.spec import INPUT_VALUES
from keras_vit.system import keras_private

RANGES = {  # values of the constant images by which each kind is judged; a map may be affine on one range alone (clip)
    "pixels": (0.0, 64.0, 128.0, 255.0),
    "unit": (0.0, 0.25, 0.5, 1.0),
    "normalized": (-2.0, -1.0, 0.0, 1.0, 2.0),
}
CONSTANTS = tuple(sorted({value for values in RANGES.values() for value in values}))
NOISE = 2  # further images: noise, and the same at a quarter of the contrast
EXACT = 0.02  # relative; mixed precision keeps 8 bits
OWN_LAYERS = (
    "keras.src.layers.",
    "keras_vit.",
    "keras_hub.",
)  # of which it is known that their weights see what they are given


def find_input_values(model, size, recorded=None):
    """Which values a model takes: one of INPUT_VALUES.

    Args:
        model: a `keras.Model` of images, of any form (functional, sequential, subclassed) and on any backend.
        size: (H, W) of its images, in pixels.
        recorded: what was asked for, or recorded when the model was made; None to find it out.

    Raises:
        ValueError: if it is none of INPUT_VALUES; if it cannot be told, with what was found.
    """
    if recorded is not None:
        if recorded not in INPUT_VALUES:
            raise ValueError(f"input_values must be one of {', '.join(INPUT_VALUES)}. Received: {recorded!r}.")
        return recorded
    if _takes_integers(model):
        return "pixels"
    try:
        found, why = _judged(*_given_to_first_weights(model, _probes(model, size)))
    except Exception as error:  # the model may be anybody's code
        found, why = None, f"running it on images of one colour failed: {' '.join(str(error).split())[:200]}"
    if found is None:
        raise ValueError(
            f"{model.name}: it cannot be told which values the model takes: {why}. Say it with --input-values (in "
            "Python: input_values=): pixels if it takes [0, 255] and normalises by itself, unit if it takes [0, 1], "
            "normalized if it takes what the mean and std of its preprocessing give."
        )
    return found


def as_taken(images, spec, values=None):
    """Images as a model takes them.

    Args:
        images: (..., H, W, C) in [0, 255]: a numpy array, a tensor, or a symbolic tensor.
        spec: a `Spec`.
        values: of INPUT_VALUES; by default what the spec records, else "normalized".

    Returns:
        float32, of the same kind of array.
    """
    values = values or spec.input_values or "normalized"
    if values == "pixels":
        return as_float32(images)
    if values == "unit":
        spec = dataclasses.replace(spec, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return normalize(images, spec)


def _takes_integers(model):
    import keras

    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in getattr(model, "inputs", None) or ()]
    return bool(dtypes) and all("int" in dtype for dtype in dtypes)


def _probes(model, size):
    """Constant images, in the order of CONSTANTS, then noise: float32 (B, H, W, C)."""
    inputs = getattr(model, "inputs", None)
    channels = (inputs[0].shape[-1] if inputs and len(inputs[0].shape) == 4 else None) or 3
    constants = np.ones((len(CONSTANTS), *size, channels), "float32")
    constants *= np.array(CONSTANTS, "float32")[:, None, None, None]
    noise = np.random.default_rng(0).uniform(0, 255, (*size, channels)).astype("float32")
    return np.concatenate([constants, [noise, noise / 4 + 64]])


class _Seen(BaseException):
    """Ends the model's run at its first weights; no Exception, which Keras would catch and word anew."""

    def __init__(self, layer, given):
        super().__init__()
        self.layer, self.given = layer, given


def _given_to_first_weights(model, images):
    """The first layer with weights that sees the images, and what it is given: float64 (B, P).

    Layers that are given the same for every image (position tables) are passed over. (None, None) without any.
    """
    from keras import ops, tree

    def rows(tensor):
        array = ops.convert_to_numpy(ops.cast(tensor, "float32")).astype("float64")
        return array.reshape(len(images), -1) if array.ndim and len(array) % len(images) == 0 else None

    def watched(layer, call):
        def watching(*args, **kwargs):
            tensors = [x for x in tree.flatten((args, kwargs)) if ops.is_tensor(x)]
            arrays = [array for array in map(rows, tensors) if array is not None and array.size]
            given = np.concatenate(arrays, 1) if arrays else np.zeros((len(images), 0))
            if (given != given[:1]).any():
                raise _Seen(layer, given)
            return call(*args, **kwargs)

        return watching

    with contextlib.ExitStack() as stack:
        for layer in keras_private.leaves_with_weights(model):
            for name in ("call", "quantized_call"):
                stack.enter_context(_replaced(layer, name, watched(layer, getattr(layer, name))))
        try:
            model(images, training=False)
        except _Seen as seen:
            return seen.layer, seen.given
    return None, None


@contextlib.contextmanager
def _replaced(layer, name, method):
    """A method of one instance is another inside; past Keras' own tracking of attributes."""
    attributes = vars(layer)
    before = attributes.get(name)
    attributes[name] = method
    try:
        yield
    finally:
        del attributes[name]
        if before is not None:
            attributes[name] = before


@dataclass(frozen=True)
class _Affine:
    """The map gain * value + offset of every position that the first weights are given, arrays (P,)."""

    gain: np.ndarray
    offset: np.ndarray
    fits: np.ndarray  # bool: whether it is one

    @property
    def zero(self):
        """The value that is mapped to 0."""
        return -self.offset / np.where(self.gain == 0, np.nan, self.gain)

    @classmethod
    def of(cls, given, values):
        """Through the outputs (B, P) for the constants `values`."""
        y = given[[CONSTANTS.index(value) for value in values]]
        with np.errstate(invalid="ignore"):
            gain = (y[-1] - y[0]) / (values[-1] - values[0])
            offset = y[0] - gain * values[0]
            error = np.abs(y - gain * np.array(values)[:, None] - offset).max(0)
            fits = error <= EXACT * np.abs(gain) * (values[-1] - values[0])
        return cls(gain, offset, fits & np.isfinite(gain))


def _judged(layer, given):
    """(one of INPUT_VALUES or None, what was found in words)."""
    if layer is None:
        return None, "no layer with weights is given its images"
    whose = f"its first weights, those of the layer {layer.name!r}"
    given, constant = _told_apart(given)
    if constant:
        found = _judged_by_noise(given)
        return found, f"{whose}, are given the same for every image of one colour"
    found = _kind(given, _pixels, _unit, _identity)
    if found == "normalized":
        if not type(layer).call.__module__.startswith(OWN_LAYERS):
            return None, f"{whose}, are given the image itself, by a layer of your own, which may normalise inside"
        statistics = _batch_statistics(layer, given.shape[1])
        if statistics is not None:
            mean, deviation = statistics
            found = _kind((given - mean) / deviation, _pixels, _unit, _near_identity)
            return found, (
                f"{whose}, are a BatchNormalization's for values of mean {mean.mean():.3g} and standard deviation "
                f"{deviation.mean():.3g}"
            )
    return found, f"{whose}, are given {_in_words(given)}"


def _told_apart(given):
    """(what depends on the image, whether only that of noise does)."""
    constants = given[:-NOISE]
    with np.errstate(invalid="ignore"):
        span = constants.max(0) - constants.min(0)
    of_noise = np.abs(given[-NOISE] - given[0])
    span = np.where(np.isfinite(span), span, 0.0)
    if span.max() <= 1e-3 * np.nanmax(of_noise):
        return given, True
    return given[:, span > 1e-3 * span.max()], False


def _judged_by_noise(given):
    """Of images standardised one by one, any values are as good; "pixels" keeps what epsilon they add smallest."""
    one, quarter = given[-NOISE], given[-NOISE + 1]
    deviation = one.std()
    if not np.isfinite(deviation) or not deviation:
        return None
    if np.abs(one - quarter).max() <= 0.1 * deviation:
        return "pixels"
    return "pixels" if 0.5 / 255 <= deviation / 74 <= 30 / 255 else None  # 74: of the noise itself


def _kind(given, *tests):
    """Of INPUT_VALUES, the one whose test is passed on its own range by nearly all positions; None if not just one."""
    maps = {kind: _Affine.of(given, values) for kind, values in RANGES.items()}
    with np.errstate(invalid="ignore"):
        passed = [kind for kind, test in zip(INPUT_VALUES, tests) if (maps[kind].fits & test(maps[kind])).mean() > 0.9]
    return passed[0] if len(passed) == 1 else None


def _pixels(map):
    """[0, 255] becomes a few units (x / 255, x / 127.5 - 1, (x - mean) / std), or loses its mean (x - 120)."""
    scaled = _between(map.gain, 0.5 / 255, 30 / 255) & _between(map.zero, -64, 320)
    return scaled | _close(map.gain, 1) & _between(-map.offset, 16, 255)


def _unit(map):
    """[0, 1] becomes a few units around 0, or pixels."""
    scaled = _between(map.gain, 1.5, 30) & _between(map.zero, 0.02, 1)
    return scaled | _close(map.gain, 255) & _between(map.zero, -0.02, 1)


def _identity(map):
    return _close(map.gain, 1) & (np.abs(map.offset) <= EXACT)


def _near_identity(map):
    """Of a BatchNormalization: normalised values are not exactly of mean 0 and standard deviation 1."""
    return _between(map.gain, 0.6, 1.25) & (np.abs(map.zero) <= 0.6)


def _between(x, low, high):
    return (low <= x) & (x <= high)


def _close(x, y):
    return np.abs(x - y) <= EXACT * y


def _batch_statistics(layer, positions):
    """(mean, standard deviation), (P,) each, of what a BatchNormalization of channels was trained on; else None."""
    import keras

    if not isinstance(layer, keras.layers.BatchNormalization) or layer.axis not in (-1, 3):
        return None
    moving = (layer.moving_mean, layer.moving_variance)
    mean, variance = (keras.ops.convert_to_numpy(x).astype("float64") for x in moving)
    times, left = divmod(positions, len(mean))
    return None if left else (np.tile(mean, times), np.tile(np.sqrt(variance + layer.epsilon), times))


def _in_words(given):
    lines = []
    for values in RANGES.values():
        map = _Affine.of(given, values)
        if map.fits.mean() > 0.9:
            line = f"{np.median(map.gain):.3g} * v {np.median(map.offset):+.3g}"
            lines.append(f"{line} for a value v of the image in [{values[0]:g}, {values[-1]:g}]")
    return "; ".join(lines) or "no multiple of the image's values"
