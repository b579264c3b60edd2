"""The model that a recipe names: as it is trained, as it is saved, and how its pictures are prepared."""

import dataclasses
from pathlib import Path

from keras_vit import xla
from keras_vit.depth import depth_groups
from keras_vit.preprocessing import Spec
from keras_vit.runs import SPEC

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # from scratch: pixels to [-1, 1]


def find(recipe):
    """The variant that `model` names, and the weights to start from: the tag in a name such as "SwinT.ms_in22k" wins.

    The recipe's own variant as long as `model` is its name, else the zoo's; ValueError with close names.
    """
    if recipe.variant is not None and recipe.variant.name == recipe.model:
        return recipe.variant, recipe.weights
    from keras_vit.zoo import lookup

    variant, row = lookup(recipe.model)
    return variant, row.tag if row and recipe.weights == "imagenet" else recipe.weights


def spec_of(recipe):
    """The preprocessing of a run: that of the weights it starts from, at the recipe's size."""
    variant, weights = find(recipe)
    if weights is None:
        return Spec(recipe.img_size or variant.image_size, **PLAIN)
    spec = _spec_of_weights(variant, weights)
    return dataclasses.replace(spec, size=recipe.img_size) if recipe.img_size else spec


def _spec_of_weights(variant, weights):
    from keras_vit.weights import catalogue

    if weights == "imagenet":
        return catalogue.default(variant.name).spec
    if weights in variant.tags:
        return catalogue.find(variant.name, weights).spec
    path = Path(weights)
    beside = (path if path.is_dir() else path.parent) / SPEC
    # Nothing but a run says how the pictures of its weights were prepared.
    return Spec.load(beside) if beside.is_file() else variant.spec


def build_for_training(recipe, classes, spec):
    """The model with logits, the recipe's drop rates and precision, the weights it starts from, and what is frozen."""
    variant, weights = find(recipe)
    model = variant(
        weights=weights,
        input_shape=(*spec.size, 3),
        classes=classes,
        classifier_activation=None,
        drop_rate=recipe.drop,
        drop_path_rate=recipe.drop_path,
        dtype="float32" if recipe.precision == "float32" else f"mixed_{recipe.precision}",
    )
    freeze(model, recipe)
    return model


def freeze(model, recipe):
    """Make the layers below freeze_depth, or all but the head's, layers without a gradient.

    Raises: ValueError if nothing is left to train.
    """
    if not (recipe.linear_probe or recipe.freeze_depth):
        return
    names = [layer.name for layer in model.layers if layer.weights]
    if recipe.linear_probe:
        trained = [name for name in names if name in ("head", "head_dist")]
    else:
        trained = [name for name, level in depth_groups(model).items() if level >= recipe.freeze_depth]
    if not trained:
        highest = "" if recipe.linear_probe else f" Its highest level is {max(depth_groups(model).values())}."
        raise ValueError(
            f"Nothing of {model.name!r} is left to train with linear_probe={recipe.linear_probe}, "
            f"freeze_depth={recipe.freeze_depth}.{highest}"
        )
    for name in set(names) - set(trained):
        model.get_layer(name).trainable = False


def compiles(recipe):
    """Whether XLA is to compile training and evaluation: as the recipe says, where it pays."""
    return recipe.xla and xla.pays_in_training()


def build_for_saving(recipe, classes, spec):
    """The same model as users want it: probabilities, float32, nothing dropped; its weights are to be set."""
    variant, _ = find(recipe)
    return variant(weights=None, input_shape=(*spec.size, 3), classes=classes, dtype="float32")
