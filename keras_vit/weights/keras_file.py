"""What a file that Keras wrote holds, by its content, and how to make of it what is read here.

Keras has four kinds, two of which share a suffix: `.keras` (a zip with architecture and weights), `.weights.h5`
(weights by the order of layers), and since Keras 2 whole models and weights in `.h5`.
"""

import math
import shlex
import zipfile
from pathlib import Path

from keras_vit.system.limits import MAX_OBJECTS
from keras_vit.weights.entries import Archive, damaged, max_unpacked, reading, refused

HDF5 = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"  # of a .keras archive
_CHUNK = 2**24  # bytes that a chunk of any array may have


def is_keras(path):
    """Whether Keras wrote a file, or it is HDF5, by its content."""
    with open(path, "rb") as file:
        if file.read(len(HDF5)) == HDF5:
            return True
    if not zipfile.is_zipfile(path):
        return False
    try:
        return KERAS_MEMBER in Archive(path).members
    except ValueError:  # which reading it as another kind says
        return False


def explain(path):
    """Sentences that say what a file holds and what to do with it, for an error.

    None for a file that Keras did not write, and for one that is read by its name: `.keras` and `.weights.h5`.
    """
    path = Path(path)
    if not is_keras(path):
        return None
    if not zipfile.is_zipfile(path):
        return _explain_hdf5(path)
    return None if path.name.endswith(".keras") else f"It is a .keras file. Rename it: {_move(path, '.keras')}"


def _explain_hdf5(path):
    import h5py

    try:
        with h5py.File(path) as file:
            attributes, groups = set(file.attrs), set(file)
    except Exception as error:  # h5py has errors of many kinds
        return f"It is an HDF5 file that is cut short or damaged ({error!s:.200}). Copy or save it again."
    saved = path.with_name(f"{_stem(path)}.keras")
    if "model_config" in attributes:
        source = path if path.name.endswith(".h5") else path.with_name(f"{_stem(path)}.h5")
        rename = "" if source == path else f"{_move(path, '.h5')} && "
        code = f"import keras, keras_vit; keras.saving.load_model({str(source)!r}, compile=False).save({str(saved)!r})"
        return (
            "It holds a whole model in Keras' older format, HDF5, which is not read here. Save it once as "
            f".keras, and use that: {rename}python -c {_quoted(code)}"
        )
    if "layer_names" in attributes:
        return (
            "It holds weights as save_weights of Keras 2 writes them, without names that fit here. Build the model "
            f"that they were saved from, then model.load_weights({str(path)!r}) and model.save({str(saved)!r}), and "
            "use that file."
        )
    if "layers" not in groups and "vars" not in groups:
        return f"It is an HDF5 file that Keras did not write: it holds {', '.join(sorted(groups)[:5]) or 'nothing'}."
    if path.name.endswith(".weights.h5"):
        return None
    return (
        "It holds weights as model.save_weights writes them, which are read if the name ends in .weights.h5. Rename "
        f"it: {_move(path, '.weights.h5')}"
    )


def shapes(path):
    """The shapes of the model's arrays in a `.weights.h5` file, in no order; those of an optimizer are left out."""
    import h5py

    found = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and "/vars/" in f"/{name}" and not name.startswith("optimizer/"):
            found.append(tuple(item.shape))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def check_sizes(path, content=None):
    """Compare the sizes that an HDF5 file declares with what it holds, before any array is allocated.

    Args:
        content: an io.BytesIO with it; by default the file at `path`, which errors name.

    Returns:
        (how many arrays it has, how many numbers they have).

    Raises:
        ValueError: for arrays that unpack to more than the file may, that lie outside it, or in another file.
    """
    import h5py

    held = len(content.getbuffer()) if content else Path(path).stat().st_size
    with reading(path, "a complete HDF5 file"), h5py.File(content or path) as file:
        found = _Found(path, held)
        # Not file.visititems, which makes an object of each group, and takes twice as long
        h5py.h5o.visit(file.id, lambda name, about: found.add(file, name, about), info=True)
    return found.arrays, found.numbers


class _Found:
    """What the arrays of an HDF5 file of `held` bytes declare, added up."""

    def __init__(self, path, held):
        self.path, self.held = path, held
        self.objects, self.arrays, self.numbers, self.size = 0, 0, 0, 0

    def add(self, file, name, about):
        """Add a group or an array, given its name in bytes and what HDF5 says about it."""
        import h5py

        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise refused(self.path, f"it has more than {MAX_OBJECTS:,} groups and arrays (MAX_OBJECTS)")
        if about.type != h5py.h5o.TYPE_DATASET:
            return
        array, name = h5py.h5d.open(file.id, name), name.decode("utf-8", "replace")
        shape, itemsize, start = array.shape or (), array.dtype.itemsize, array.get_offset()
        count = math.prod(shape)
        if start is None:  # not in one piece, or not there
            self._check_plan(name, shape, count * itemsize, itemsize, array.get_create_plist())
        elif start + count * itemsize > self.held:
            raise damaged(self.path, f"{count * itemsize:,} bytes for {name[:200]}", f"a file of {self.held:,}")
        self.arrays += 1
        self.numbers += count
        self.size += count * itemsize
        if self.size > (limit := max_unpacked(self.held)):
            raise refused(
                self.path,
                f"its {self.held:,} bytes declare arrays of more than {limit:,}, {name[:200]} of {shape} the last "
                "(MAX_UNPACKED, MAX_UNPACKED_RATIO)",
            )

    def _check_plan(self, name, shape, size, itemsize, plan):
        """Raise if the numbers of an array of `size` bytes are in another file, or in chunks larger than it."""
        import h5py

        layout = plan.get_layout()
        if layout == h5py.h5d.VIRTUAL or plan.get_external_count():
            raise refused(self.path, f"the numbers of {name[:200]} are in another file")
        chunk = math.prod(plan.get_chunk()) * itemsize if layout == h5py.h5d.CHUNKED else 0
        if chunk > max(size, _CHUNK):
            raise damaged(self.path, f"chunks of {name[:200]} no larger than it", f"{chunk:,} bytes for {shape}")


def _move(path, suffix):
    """The command that gives a file another suffix."""
    return f"mv {shlex.quote(str(path))} {shlex.quote(str(path.with_name(_stem(path) + suffix)))}"


def _quoted(code):
    """Python code as an argument of the shell."""
    return shlex.quote(code) if set(code) & set('"$`\\!') else f'"{code}"'


def _stem(path):
    stem = path.name
    for ending in (".h5", ".hdf5", ".weights", ".keras", ".pth", ".pt", ".bin"):
        stem = stem.removesuffix(ending)
    return stem
