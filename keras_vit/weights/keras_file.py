"""What a file that Keras wrote holds, by its content, and how to make of it what is read here.

Keras has four kinds, two of which share a suffix: `.keras` (a zip with architecture and weights), `.weights.h5`
(weights by the order of layers), and since Keras 2 whole models and weights in `.h5`.
"""

import shlex
import zipfile
from pathlib import Path

HDF5 = b"\x89HDF\r\n\x1a\n"
KERAS_MEMBER = "model.weights.h5"  # of a .keras archive


def is_keras(path):
    """Whether Keras wrote a file, or it is HDF5, by its content."""
    with open(path, "rb") as file:
        if file.read(len(HDF5)) == HDF5:
            return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return KERAS_MEMBER in archive.namelist()


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
    except OSError as error:
        return f"It is an HDF5 file that is cut short or damaged ({error}). Copy or save it again."
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
