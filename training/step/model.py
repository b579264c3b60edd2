"""The model that a recipe names: as it is trained, as it is saved, and how its images are prepared."""

import dataclasses

from keras_vit.models import VARIANTS
from keras_vit.models.blocks import require_blocks
from keras_vit.models.deit import HEADS
from keras_vit.models.depth import depth_groups
from keras_vit.models.sizes import sides_of, view
from keras_vit.preprocessing import Spec
from keras_vit.sources.registry import lookup
from keras_vit.sources.resolve import resolve
from keras_vit.system import xla
from keras_vit.training.pipeline.sizes import in_words, own_size
from keras_vit.training.step import lora
from keras_vit.weights import catalogue

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # from scratch: pixels to [-1, 1]


def find(recipe):
    """The variant that `model` names, and the weights to start from.

    A tag in the name, such as "SwinT.ms_in22k", takes the place of weights="imagenet". The recipe's own variant is used
    while `model` is its name, else the public one.

    Raises:
        ValueError: with the closest names, if there is no such model.
    """
    if recipe.variant is not None and recipe.variant.name == recipe.model:
        return recipe.variant, recipe.weights
    entry, row = lookup(recipe.model)
    return VARIANTS[entry.name], row.tag if row and recipe.weights == "imagenet" else recipe.weights


def spec_of(recipe):
    """The preprocessing of a run: that of the weights it starts from, at the recipe's size."""
    variant, weights = find(recipe)
    size = own_size(recipe)
    if weights is None:
        return Spec(size or variant.image_size, **PLAIN)
    spec = _spec_of_weights(variant, weights)
    return dataclasses.replace(spec, size=size) if size else spec


def _spec_of_weights(variant, weights):
    if weights == "imagenet":
        return catalogue.default(variant.name).spec
    if weights in variant.tags:
        return catalogue.find(variant.name, weights).spec
    # Only a run folder records how the images of its weights were prepared.
    spec = resolve(weights, ("run", "keras", "library", "weights"), "weights").spec() or variant.spec
    return dataclasses.replace(spec, input_values=None)  # that of another model, maybe one that normalises inside


def build_for_training(recipe, classes, spec, with_weights=True):
    """The model with logits, the recipe's drop rates, precision, initial weights, frozen layers and LoRA's additions.

    Args:
        with_weights: whether to load the weights that the recipe starts from.
    """
    variant, weights = find(recipe)
    model = variant(
        weights=weights if with_weights else None,
        input_shape=(*spec.size, 3),
        classes=classes,
        classifier_activation=None,
        drop_rate=recipe.drop,
        drop_path_rate=recipe.drop_path,
        dtype="float32" if recipe.precision == "float32" else f"mixed_{recipe.precision}",
    )
    freeze(model, recipe)
    lora.adapt(model, recipe)
    return model


def freeze(model, recipe):
    """Freeze the layers below freeze_depth, or with linear_probe all but the heads.

    Raises:
        ValueError: if nothing is left to train.
    """
    if not (recipe.linear_probe or recipe.freeze_depth):
        return
    names = [layer.name for layer in model.layers if layer.weights]
    if recipe.linear_probe:
        trained = [name for name in names if name in HEADS]
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


def views(model, sizes):
    """{size: the model for images of this size (H, W)}, each of the layers of `model` itself.

    Raises:
        ValueError: naming the next larger size that the model takes, if it does not take one of them; for a model
            that is none of this library.
    """
    for size in sizes:
        require_blocks("img_size_schedule, multi_scale", model)
        sides = sides_of(model)
        if (fits := sides.rounded(size)) != tuple(size):
            multiples = f"multiples of {sides.multiple}, " if sides.multiple > 1 else ""
            least = max(sides.smallest, sides.multiple)
            raise ValueError(
                f"img_size_schedule, multi_scale: {model.name!r} takes images of sides that are {multiples}{least} "
                f"pixels at least. Received: {in_words(size)}; the next size that fits is {in_words(fits)}."
            )
    return {tuple(size): view(model, size) for size in sizes}


def compiles(recipe):
    """Whether XLA compiles training and evaluation: if the recipe allows it and it is faster on these devices."""
    return recipe.xla and xla.pays_in_training()


def build_for_saving(recipe, classes, spec, activation="softmax"):
    """The same model for inference: float32, no dropout; its weights are not set yet.

    Args:
        activation: of its outputs: "softmax" for probabilities of classes that exclude each other, "sigmoid" for those
            of several labels, None for logits.
    """
    variant, _ = find(recipe)
    return variant(
        weights=None,
        input_shape=(*spec.size, 3),
        classes=classes,
        classifier_activation=activation,
        dtype="float32",
    )
