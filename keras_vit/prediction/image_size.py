"""A model for images of another size than it was trained on: what "trained at 224, tested at 288" needs."""

import numpy as np

from keras_vit.sources.resolve import KINDS
from keras_vit.sources.run_folder import MODEL

SAME = 1e-3  # of outputs, for models in half precision too
KERAS = ("run", "keras", "library", "published")  # kinds of sources whose model can be built for another size


def spec_at(found, spec, img_size=None, crop_pct=None):
    """The preprocessing of a source for another size or crop.

    Args:
        found: the `Resolved` of the source.
        spec: its `Spec`, or None where none is known.
        img_size: (H, W) in pixels, or one number for both; None for the spec's.
        crop_pct: the crop's side as a share of the resized short side; None for the spec's.

    Returns:
        A `Spec`; None where `spec` is.

    Raises:
        ValueError: for a source whose size is fixed (a SavedModel, a `.tflite` file), and for what is no size.
    """
    if img_size is None and crop_pct is None:
        return spec
    if found.kind not in KERAS:
        raise ValueError(
            f"{found.path} is {KINDS[found.kind]}, made for images of one size and crop; img_size and crop_pct "
            "(--img-size, --crop-pct) are for Keras models. Make one for other images from its model: "
            "`keras-vit export MODEL --img-size SIZE`, or `keras-vit convert MODEL --img-size SIZE`."
        )
    return spec and spec.at(img_size, crop_pct)


def model_at(model, size):
    """The model itself where it takes images of a size, else its copy for that size, with the same weights.

    Args:
        model: a `keras.Model` of images (B, H, W, 3).
        size: (H, W) in pixels.

    Raises:
        ValueError: for a model that cannot be built for that size.
    """
    from keras_vit.models.sizes import at_image_size

    inputs = getattr(model, "inputs", None)
    taken = tuple(inputs[0].shape[1:3]) if inputs else (None, None)  # a subclassed model may take any
    if all(side in (None, asked) for side, asked in zip(taken, size)):
        return model
    return at_image_size(model, tuple(size))


def run_model_at(run, size):
    """The model of a `Run` for images of a size.

    Layers of earlier versions keep their sizes: the model of such a run is built anew, by its name and with its
    weights, if that gives the same.

    Raises:
        ValueError: as `model_at`.
    """
    model = run.load_model()
    try:
        return model_at(model, size)
    except ValueError:
        anew = _built_anew(run, model)
        if anew is None:
            raise
        return model_at(anew, size)


def _built_anew(run, model):
    """The model of a run as its variant builds it, with the same weights; None where that is not the same model."""
    from keras_vit.models import VARIANTS

    variant = VARIANTS.get(run.model_name)
    heads = [layer for layer in model.layers if layer.name == "head"]
    if variant is None or not heads or None in model.input_shape[1:]:
        return None
    anew = variant(
        weights=str(run.path / MODEL),
        input_shape=model.input_shape[1:],
        classes=run.classes,
        classifier_activation=heads[0].activation,
    )
    noise = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    ours, theirs = (np.asarray(one.predict_on_batch(noise), "float32") for one in (anew, model))
    return anew if np.allclose(ours, theirs, rtol=0, atol=SAME) else None
