"""The Keras model's features of images, with which the artifacts of a model without a classifier are compared."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.export.parity import feature_figures
from keras_vit.export.parity.feature_figures import DIFFERENCE
from keras_vit.export.parity.images import images_to_compare_on, read_image
from keras_vit.export.parity.outputs import cosines
from keras_vit.export.parity.parity import batches, exact, versions
from keras_vit.export.parity.replay import twice
from keras_vit.preprocessing import as_taken

MOST_NUMBERS = 2**27  # of all features that are held, 512 MB: of large maps there are fewer images
HALF = 0.99  # smallest cosine between the features of a model in half precision and of its float32 copy


@dataclass(frozen=True)
class ExpectedFeatures:
    """Images, and the Keras model's features of them."""

    files: tuple[str, ...]  # N encoded images
    kind: str  # "test" (a run's test split), "given" or "noise"
    images: np.ndarray  # uint8, N H W 3, resized
    features: dict  # name: float32 (N, ...)
    warnings: tuple[str, ...] = ()


def expect_features(source, images=(), max_images=1000, folder=None):
    """Run the Keras model on images: those given, else the test images of its run, else noise.

    Args:
        source: an `ExportedModel` of features.
        images, max_images, folder: as `parity.expect` takes them.

    Returns:
        `ExpectedFeatures`.

    Raises:
        OSError: for a file that cannot be opened.
        ValueError: for a file that is not an image, for lost test images, for max_images below 1, for features that
            are not finite, and for a model in half precision whose float32 copy gives others.
    """
    most = min(max_images, max(MOST_NUMBERS // _numbers(source), 1))
    kind, found = images_to_compare_on(source, images, most, folder)
    files = tuple(os.path.abspath(path) for path, _ in found)
    pixels = np.stack([read_image(path, Path(path).read_bytes(), source.spec) for path in files])
    features = features_of(source, source.model, pixels)
    if source.loaded is not source.model:
        _require_same(source, features_of(source, source.loaded, pixels), features)
    for name, values in features.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{source.name}: its {name} is not finite for all images; check the model's weights.")
    return ExpectedFeatures(files, kind, pixels, features)


def _numbers(source):
    """How many numbers the features of an image of the spec's size have."""
    import keras

    given = source.model.compute_output_spec(keras.KerasTensor((1, *source.spec.size, 3)))
    return sum(int(np.prod(values.shape)) for values in keras.tree.flatten(given))


def features_of(source, model, pixels):
    """{name: float32 (N, ...)}, what a Keras model of features gives for uint8 images (N, H, W, 3)."""
    with exact(model):
        found = [model.predict_on_batch(as_taken(one, source.spec, source.input_values)) for one in batches(pixels)]
    return {name: np.concatenate([np.asarray(one[name], "float32") for one in found]) for name in source.features}


def check_saved_features(outputs, expected, source):
    """The report of a SavedModel that gives features, from its outputs (`parity.replay_all`).

    The graph refuses files that it does not see as Pillow does; it is compared on the others, and the report has their
    names.

    Raises:
        ValueError: if the features differ from the Keras model's, with the figures; if all files are refused.
    """
    taken = outputs["decoded"]
    refused = [Path(file).name for file, ok in zip(expected.files, taken) if not ok]
    if not taken.any():
        raise ValueError(f"The SavedModel cannot decode any of the {len(refused)} images: {', '.join(refused[:5])}.")
    of_files = {name: outputs[f"{name}_of_files"][taken] for name in source.features}
    decoded = {name: reference[taken] for name, reference in expected.features.items()}
    report = {
        **feature_figures.figures(expected, outputs),
        f"{DIFFERENCE}_from_bytes": feature_figures.difference(of_files, decoded),
        **_at_another_size(outputs, expected, source),
        **({"refused": refused} if refused else {}),
        "limits": {DIFFERENCE: feature_figures.SAVED_MODEL},
        "versions": versions(),
    }
    feature_figures.require_within("The SavedModel", report)
    return report


def _at_another_size(outputs, expected, source):
    """The difference of features_of_images from a model of that size; {} without that signature."""
    from keras_vit.models.sizes import at_image_size

    prefix = "features_of_images."
    given = {name.removeprefix(prefix): value for name, value in outputs.items() if name.startswith(prefix)}
    if not given:
        return {}
    images = twice(expected.images)
    model = at_image_size(source.model, images.shape[1:3])
    return {f"{DIFFERENCE}_at_another_size": feature_figures.difference(given, features_of(source, model, images))}


def _require_same(source, half, features):
    """Raise a ValueError if a model in half precision does not give what its float32 copy gives, up to rounding."""
    for name, values in features.items():
        found = float(cosines(half[name], values).min())
        if not found >= HALF:
            raise ValueError(
                f"{source.name}: its copy in float32, which is exported, does not give what the model gives: the "
                f"smallest cosine of its {name} is {found:.4f} (at least {HALF})."
            )
