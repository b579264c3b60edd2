"""`save_weights`: a model's weights as a file of timm, of transformers, or of this library.

The rules that read a library's files are read backwards. How the model would be built again there is in
`keras_vit.models.library_config`, and both together are a folder of that library: `keras-vit export --format timm`.
"""

import keras

from keras_vit.models.recognition import READERS, recognize
from keras_vit.system.files import refuse_pattern
from keras_vit.weights import writing
from keras_vit.weights.rules import LIBRARIES

SUFFIX = ".safetensors"
LAYOUTS = (*LIBRARIES, "keras")


def save_weights(model, path, layout="keras"):
    """Write the weights of a model into a .safetensors file, from which `weights=` reads every one to the bit.

    Args:
        model: of `keras_vit.models`, built or loaded from a .keras file.
        path: of the file; one of that name is replaced.
        layout: "timm" or "transformers", whose names and shapes the entries get: that library's models load the file,
            strictly. "keras": the names of this library's variables.

    Raises:
        ValueError: for another suffix or layout, for a model whose family the library does not have, with the layouts
            that are possible, and for a model that is none of `keras_vit.models`.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {', '.join(map(repr, LAYOUTS))}. Received: layout={layout!r}")
    if not str(path).endswith(SUFFIX):
        raise ValueError(f"path: expected a file that ends in {SUFFIX}. Received: {str(path)!r}")
    refuse_pattern(path)
    writing.write_safetensors(path, entries(model, layout))


def entries(model, layout):
    """What `save_weights` writes: {name: array}."""
    arrays = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
    if layout == "keras":
        _require_distinct(model, arrays)
        return arrays
    found = recognize(model)
    shapes = {path: array.shape for path, array in arrays.items()}
    chosen = writing.suiting(found.architecture.family.layouts, layout, shapes)
    if chosen is None:
        raise ValueError(_not_there(found.architecture.family, layout, shapes))
    return writing.entries(chosen, arrays)


def _require_distinct(model, arrays):
    """Raise where two variables have one name, as in a model that holds another twice."""
    if len(arrays) != len(model.weights):
        raise ValueError(
            f"{model.name!r}: {len(model.weights)} variables have {len(arrays)} names. Expected a model of "
            "keras_vit.models, whose variables have a name each"
        )


def _not_there(family, layout, shapes):
    """Why a library has no such model, and what can be written."""
    libraries = {library for library in LIBRARIES if any(one.library == library for one in family.layouts)}
    possible = [one for one in LIBRARIES if writing.suiting(family.layouts, one, shapes)]
    if layout in libraries:
        what = f"{layout} has no {family.name} with these layers (its classifier or its positions are not of that kind)"
    else:
        having = [kind.name for kind, _ in READERS if any(one.library == layout for one in kind.layouts)]
        what = f"{layout} has no {family.name}. It has: {', '.join(dict.fromkeys(having))}"
    return f"{what}. Possible here: {', '.join(f'layout={one!r}' for one in (*possible, 'keras'))}"
