"""A folder of timm or transformers: what `timm.create_model("local-dir:FOLDER")` and `from_pretrained(FOLDER)` load.

    FOLDER/model.safetensors            every weight, under the library's names
    FOLDER/config.json                  architecture, labels; timm: also the preprocessing
    FOLDER/preprocessor_config.json     transformers: the preprocessing

The model gives logits there, as those libraries' models do. Before the folder gets its name it is read back here, and
must give every weight to the bit.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from keras_vit.preprocessing import find_input_values
from keras_vit.sources.library_folder import LIBRARIES
from keras_vit.system.files import atomic_folder, refuse_pattern, scratch_folder

WEIGHTS = "model.safetensors"
ACTIVATIONS = ("softmax", "linear")  # of a classifier whose classes exclude each other


def write(source, library, folder):
    """Write a model as a folder of another library; nothing is written if it is not read back to the bit.

    Args:
        source: an `ExportedModel` of a family of `keras_vit.models`.
        library: "timm" or "transformers".
        folder: its path, where nothing is yet.

    Returns:
        {file name: bytes}.

    Raises:
        FileExistsError: if there is anything at `folder`.
        ValueError: for a model that the library does not have (with the layouts that are possible), for what it cannot
            say, and for a classifier with other outputs than one per class.
    """
    from keras_vit.models import library_config, saving
    from keras_vit.models.recognition import recognize
    from keras_vit.weights.writing import write_safetensors

    if library not in LIBRARIES:
        raise ValueError(f"format: expected one of {', '.join(LIBRARIES)}. Received: {library!r}")
    refuse_pattern(folder)
    entries, found = saving.entries(source.model, library), recognize(source.model)
    if found.classes != len(source.labels) or found.activation not in ACTIVATIONS:
        raise ValueError(
            f"{source.name}: expected a classifier with one output per class, and softmax or logits. Received: "
            f"{found.classes} outputs with {found.activation} for {len(source.labels)} labels"
        )
    spec = preprocessing_of(source, found)
    files = library_config.write(library, found.architecture, found.classes, source.labels, spec)
    with atomic_folder(folder) as temporary:
        write_safetensors(temporary / WEIGHTS, entries)
        for name, content in files.items():
            (temporary / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _require_the_same(source, temporary)
        sizes = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
    return sizes


def at_size(source, size):
    """The model for images of a size, as other libraries keep one: with tables of positions of that size.

    Args:
        source: an `ExportedModel` of a family of `keras_vit.models`.
        size: (H, W) in pixels.

    Raises:
        ValueError: for a size that the model cannot run on.
    """
    from keras_vit.models.family import Variant
    from keras_vit.models.recognition import recognize

    found = recognize(source.model)
    variant = Variant(source.name, found.architecture.family, found.architecture.config)
    options = {"classes": found.classes, "classifier_activation": found.activation}
    with scratch_folder() as folder:
        stored = str(Path(folder, "model.keras"))
        source.model.save(stored)
        model = variant(weights=stored, input_shape=(*size, 3), **options)
    spec = preprocessing_of(source, found).at(size)
    return dataclasses.replace(source, model=model, loaded=model, spec=spec, input_values="normalized")


def preprocessing_of(source, recognized):
    """The `Spec` whose mean and std make of pixels what the first layer behind a normalisation takes."""
    spec = dataclasses.replace(source.spec, input_values=None)
    if recognized.takes_pixels:
        layer = source.model.get_layer("normalization")
        scale, offset = np.array(layer.scale), np.array(layer.offset)
        mean, std = np.array(spec.mean), np.array(spec.std)
        if np.allclose(255 * scale * std, 1, rtol=1e-9) and np.allclose(offset * std, -mean, rtol=1e-9):
            return spec  # which has the numbers as they were meant
        std = 1 / (255 * scale)
        return dataclasses.replace(spec, mean=tuple(map(float, -offset * std)), std=tuple(map(float, std)))
    values = find_input_values(source.model, spec.size, source.input_values)
    if values == "normalized":
        return spec
    return dataclasses.replace(spec, mean=(0.0,) * 3, std=((1 / 255 if values == "pixels" else 1.0),) * 3)


def _require_the_same(source, folder):
    """Raise unless the folder is read as a model with the same numbers."""
    import keras

    from keras_vit.models.create import create_from_folder

    again = {variable.path: variable for variable in create_from_folder(Path(folder)).weights}
    for variable in source.model.weights:
        numbers = keras.ops.convert_to_numpy(variable)
        if variable.path not in again or not np.array_equal(numbers, keras.ops.convert_to_numpy(again[variable.path])):
            raise ValueError(
                f"{source.name}: {variable.path} is not read back as it was written. This is a mistake of keras_vit; "
                "please report it."
            )
