"""Loading a `.keras` file: an architecture as JSON, and weights as HDF5, that are compared before either takes memory.

Keras builds what the architecture says, gigabytes if it says so, and looks at the weights later. Here variables get
their values once it is known that the file holds as many numbers as they have.
"""

import io
import logging
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor

from keras_vit.system import bounded_json, keras_private
from keras_vit.system.limits import MAX_ARCHITECTURE, MAX_LAYERS
from keras_vit.weights import keras_file
from keras_vit.weights.entries import Archive, WeightFileError, damaged, reading, refused

log = logging.getLogger("keras_vit")
ARCHITECTURE = "config.json"  # the member of a .keras file
_WITHOUT_SHAPE = (
    "You are attempting to create a variable while in a stateless scope"  # Keras' words for such a variable
)
# Variables that Keras does not write: what stateful layers keep, and seeds.
_SPARE_ARRAYS, _SPARE_NUMBERS = 1_000, 2**20


def load_keras_model(path):
    """Load a `.keras` file, not compiled.

    Raises:
        ValueError: naming a file that is not one, or holds other than it declares.
    """
    import keras  # which registers this library's layers, see keras_vit.system.registration

    if not zipfile.is_zipfile(path):
        explained = keras_file.explain(path)
        raise WeightFileError(f"{path} is not a .keras file, or an incomplete one. {explained or ''}".rstrip())
    archive = Archive(path)
    _check_members(archive)
    architecture = _architecture(archive)
    weights = io.BytesIO(archive.read(keras_file.KERAS_MEMBER))
    held = keras_file.check_sizes(path, weights)
    model = _built(path, architecture, held)
    if not isinstance(model, keras.Model):
        raise WeightFileError(f"{path} holds no model: its {ARCHITECTURE} describes a {type(model).__name__}.")
    with reading(path, "weights of its architecture"), zipfile.ZipFile(path) as assets:
        keras_private.load_state(model, weights, assets if len(archive.members) > 3 else None)
    warn_of_nan(path, names_of_nan(model))
    return model


def _check_members(archive):
    """Raise unless a zip has what makes a .keras file, and nothing that leads outside a folder."""
    for name in (ARCHITECTURE, keras_file.KERAS_MEMBER):
        if name not in archive.members:
            raise damaged(archive.path, f"{name} in a .keras file", f"{[name[:40] for name in archive.members][:5]}")
    for name in archive.members:
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            raise refused(archive.path, f"a file of it, {name[:200]}, leads outside its folder")


def _architecture(archive):
    """The text of config.json, which is known to be JSON of a bounded size and depth."""
    content = archive.read(ARCHITECTURE, limit=MAX_ARCHITECTURE)
    with reading(archive.path, f"an architecture in {ARCHITECTURE}"):
        text = content.decode("utf-8")
        layers = text.count('"class_name"')
        if layers > MAX_LAYERS:
            raise refused(archive.path, f"{ARCHITECTURE} lists {layers:,} objects; the limit is {MAX_LAYERS:,}")
        if not isinstance(bounded_json.parse(content), dict):
            raise damaged(archive.path, f"an object in {ARCHITECTURE}", text[:60])
        return text


def _built(path, architecture, held):
    """The model of an architecture, as long as a file with that many arrays and numbers can hold its variables."""
    try:
        try:
            with keras_private.variables_without_values(_Room(path, *held).take):
                return keras_private.model_from_json(architecture)
        except Exception as error:
            if not _is_of_own_layer(error):
                raise
            return keras_private.model_from_json(architecture)
    except WeightFileError:
        raise
    except Exception as error:
        # Keras repeats the whole architecture around what went wrong
        reason = str(error).rpartition("Exception encountered: ")[2].partition(" Full object config")[0].strip()
        raise WeightFileError(f"{path} cannot be loaded: {reason[:500] or type(error).__name__}") from error


def _is_of_own_layer(error):
    """Whether a layer of the user's own cannot be built without values: its variable begins with an array.

    No layer of Keras or of this library does that; what the user registered is trusted.
    """
    import keras

    own = any(not name.startswith("keras_vit>") for name in keras.saving.get_custom_objects())
    while error is not None and not str(error).startswith(_WITHOUT_SHAPE):
        error = error.__cause__ or error.__context__
    return own and error is not None


class _Room:
    """How much a file holds; variables take from it."""

    def __init__(self, path, arrays, numbers):
        self.path, self.arrays, self.numbers = path, arrays + _SPARE_ARRAYS, numbers + _SPARE_NUMBERS

    def take(self, variable):
        """Raise if the file does not have that many numbers left."""
        self.arrays -= 1
        self.numbers -= math.prod(variable.shape)
        if self.arrays < 0 or self.numbers < 0:
            raise WeightFileError(
                f"{self.path} is damaged: its {ARCHITECTURE} declares more weights than its {keras_file.KERAS_MEMBER} "
                "holds. Download it again."
            )


def names_of_nan(model):
    """The paths of the weights that are not all finite."""
    import keras

    floats = [v for v in model.weights if keras.backend.is_float_dtype(v.dtype)]
    with ThreadPoolExecutor() as pool:  # of threads, since NumPy adds without Python's lock
        finite = pool.map(is_finite, map(keras_private.numbers_of, floats))
        return [v.path for v, good in zip(floats, finite) if not good]


def is_finite(array):
    """Whether all numbers are; their sum says so at once, unless it overflows itself."""
    import numpy as np

    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def warn_of_nan(path, names):
    """Log that weights are not numbers, if any are."""
    if names:
        log.warning(
            "%s: %d of its arrays have numbers that are NaN or infinite, %s the first; a model with them predicts "
            "nothing. Take an earlier or another file.",
            path,
            len(names),
            names[0],
        )
