"""The whole Keras model of a source, whether it has a classifier or none; and the same without it, pooled otherwise."""

from keras_vit.prediction.image_size import model_at, run_model_at
from keras_vit.sources.run_folder import MODEL, Run, load_keras_model


def has_no_classifier(found):
    """Whether a `Resolved` is known, before it is loaded, to be of weights without a classifier (DINOv2)."""
    from keras_vit.sources.library_folder import open_folder

    if found.kind == "published":
        return not found.row.classes
    return found.kind == "library" and open_folder(found.path).classes == 0


def whole_model(found, spec, resized):
    """The Keras model of a source, with its classifier if it has one, else pooled as its family's classifiers are.

    Args:
        found: a `Resolved` of a kind that has a Keras model.
        spec: its `Spec`.
        resized: whether the spec's size was asked for; the model is built for it then.
    """
    from keras_vit.models import create
    from keras_vit.prediction.classifier import as_functional

    if has_no_classifier(found):
        return _pooled_as_classifiers(lambda pooling: without_classifier(found, spec, pooling))
    if found.kind == "published":
        return create.create_published(found.row, *([spec.size] if resized else []))
    if found.kind == "library":
        return create.create_from_folder(found.path, input_shape=(*spec.size, 3))
    if found.kind == "run" and resized:
        return run_model_at(Run.open(found.path), spec.size)
    model = load_keras_model(found.path / MODEL if found.kind == "run" else found.path)
    return as_functional(model_at(model, spec.size) if resized else model, spec.size)


def without_classifier(found, spec, pooling):
    """The model of a source as the constructors build it with include_top=False and a pooling.

    Args:
        found: a `Resolved` of a model's name, a folder of another library, or a run of one of this library's models.
        spec: its `Spec`.
        pooling: "avg", "max" or "token".

    Raises:
        ValueError: for another source, and for "token" of a family without a class token.
    """
    from keras_vit.models import VARIANTS, create

    options = {"include_top": False, "pooling": pooling, "input_shape": (*spec.size, 3)}
    if found.kind == "published":
        return VARIANTS[found.row.constructor](weights=found.row.tag, **options)
    if found.kind == "library":
        return create.create_from_folder(found.path, **options)
    variant = VARIANTS.get(Run.open(found.path).model_name) if found.kind == "run" else None
    if variant is None:
        raise ValueError(
            f"{found.path}: another pooling is for names, folders of transformers or timm, and runs of this library's "
            "models. Leave --pooling out for what the model's classifier reads."
        )
    return variant(weights=str(found.path / MODEL), **options)


def _pooled_as_classifiers(build):
    try:
        return build("token")
    except ValueError as error:
        if "needs a class token" not in str(error):
            raise
        return build("avg")
