"""The rules of a layout read backwards: from the variables of a model to the files of timm or transformers.

`keras_vit.weights.rules` sees to it, when a layout is imported, that each of its rules has a way back.
"""

import re

import numpy as np

from keras_vit.system.files import atomic_file
from keras_vit.weights import rules


def suiting(layouts, library, shapes):
    """The first layout of a library that has all variables of a model; None if none has.

    Args:
        layouts: of the model's family.
        library: of `rules.LIBRARIES`.
        shapes: {path of a variable: shape}.
    """
    of_library = (layout for layout in layouts if layout.library == library)
    return next((one for one in of_library if all(map(one.rule_for, shapes)) and one.suits(shapes)), None)


def entries(layout, arrays):
    """The entries of a file.

    Args:
        layout: that `suiting` gave.
        arrays: {path of a variable: array}.

    Returns:
        {name: array}, each once under every name that the layout's files have for it.
    """
    found = {}
    for path, array in arrays.items():
        rule, numbers = layout.rule_for(path)
        stored = rule.transform.backward(array)
        stored = stored if isinstance(stored, tuple) else (stored,)
        names = [rules.spell(source, numbers) for source in rule.sources]
        found |= {name: part for name, part in zip(names, stored, strict=True) if part is not None}
    for path, array in arrays.items():
        rule, numbers = layout.rule_for(path)
        for alias in rule.aliases:
            first = found[rules.spell(rule.sources[0], numbers)]
            found |= dict.fromkeys(_names(alias, numbers, list(found)), first)
    return found | _supplied(layout, arrays)


def _names(alias, numbers, names):
    """The names that an alias stands for: one, or one for each module of the file that has room for it.

    A placeholder that the variable's path does not have is an integer of any of `names` with the same beginning.
    """
    free = [place for place in rules.PLACE.finditer(alias) if place[1] not in numbers]
    if not free:
        return [rules.spell(alias, numbers)]
    beginning = rules.spell(alias[: free[0].start()], numbers)
    digits = re.compile(re.escape(beginning) + r"(\d+)\.")
    integers = {int(match[1]) for match in map(digits.match, names) if match}
    return [
        name
        for integer in sorted(integers)
        for name in _names(alias, numbers | {free[0][1]: integer - int(free[0][2] or 0)}, names)
    ]


def _supplied(layout, arrays):
    """The entries that the library wants although a model here has no such variable."""
    found = {}
    for rule in layout.rules:
        if rule.supplied:
            pattern, make = rule.supplied
            for path, array in arrays.items():
                numbers = rules.bind(pattern, path)
                if numbers is not None:
                    found[rules.spell(rule.sources[0], numbers)] = make(array)
    return found


def write_safetensors(path, arrays, metadata=None):
    """Write a .safetensors file; one of that name is replaced once the new one is complete.

    Args:
        path: of the file.
        arrays: {name: array}; half-precision numbers become float32, as they do when they are read.
        metadata: {name: text}; by default those that transformers asks for. Several are in no particular order.
    """
    from safetensors.numpy import save_file

    metadata = {"format": "pt"} if metadata is None else metadata
    with atomic_file(path) as temporary:
        save_file({name: _storable(array) for name, array in arrays.items()}, temporary, metadata=metadata)


def _storable(array):
    array = np.asarray(array)
    kept = array.dtype.kind in "biu" or array.dtype in (np.float32, np.float64)
    return np.ascontiguousarray(array if kept else array.astype(np.float32)).reshape(array.shape)
