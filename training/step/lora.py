"""LoRA, arXiv:2106.09685: a run trains thin matrices beside frozen ones, and the classifier; the sum is what it saves.

Which matrices: every dense layer of the blocks, that is the projections of attention and both layers of the MLPs, and
of T2T-ViT's module, which attends before the first block. Keras' own `Dense.enable_lora` adds A, drawn as Keras draws
it, and B, zero, so that a run begins at the weights that it starts from. All else is frozen: biases, norms, tokens,
positions, convolutions; batch normalisation there keeps its statistics.

The file that holds A, B and the classifier is `keras_vit.models.adapters`.
"""

import keras

from keras_vit.models import adapters
from keras_vit.models.blocks import block_of
from keras_vit.models.deit import HEADS
from keras_vit.system import keras_private


def adapt(model, recipe):
    """Give a model the additions of a recipe, and freeze the rest; nothing happens without `lora_rank`.

    Layers that are frozen already, those below freeze_depth, get none.

    Raises:
        ValueError: if there is nothing to add to.
    """
    if recipe.lora_rank is None:
        return
    found = [layer for layer in _dense(model) if layer.trainable]
    if not found:
        raise ValueError(
            f"lora_rank: {model.name!r} has no dense layer in a block that is not frozen. Give a smaller freeze_depth."
        )
    for layer in found:
        layer.enable_lora(recipe.lora_rank, lora_alpha=recipe.lora_alpha)
    kept = {id(v) for layer in found for v in (layer.lora_kernel_a, layer.lora_kernel_b)}
    kept |= {id(v) for v in _head_variables(model)}
    for layer in keras_private.leaves_with_weights(model):
        if not any(id(v) in kept for v in layer.variables):
            layer.trainable = False
    for variable in model.trainable_variables:
        variable.trainable = id(variable) in kept


def adapted(model):
    """The dense layers of a model that have additions."""
    layers = [layer for layer in keras_private.all_layers(model) if isinstance(layer, keras.layers.Dense)]
    return [layer for layer in layers if layer.lora_enabled]


def merged(model, variables, values):
    """The values of a model without additions: each matrix with its own added.

    Args:
        model: one that `adapt` has seen.
        variables: some or all of its variables, those of the additions and of their matrices included.
        values: their arrays, in the same order.
    Returns:
        The arrays of all but the additions, in the same order.
    """
    of, skipped, sums = {id(v): value for v, value in zip(variables, values)}, set(), {}
    for layer in adapted(model):
        matrix, a, b = _variables(layer)
        skipped |= {id(a), id(b)}
        scale = layer.lora_alpha / layer.lora_rank
        sums[id(matrix)] = adapters.added(of[id(matrix)], of[id(a)], of[id(b)], scale)
    return [sums.get(id(v), of[id(v)]) for v in variables if id(v) not in skipped]


def write(path, model, variables, values, description):
    """Write the adapter of a model, as `adapters.write_adapter`; arguments as `merged`."""
    of = {id(v): value for v, value in zip(variables, values)}
    parts = {matrix.path: tuple(of[id(v)] for v in (matrix, a, b)) for matrix, a, b in map(_variables, adapted(model))}
    head = {v.path: of[id(v)] for v in _head_variables(model)}
    adapters.write_adapter(path, parts, head, description)


def _variables(layer):
    """(matrix, A, B) of a layer with additions."""
    a, b = layer.lora_kernel_a, layer.lora_kernel_b
    others = [v for v in layer.variables if v is not a and v is not b and v.path.endswith("/kernel")]
    return others[0], a, b


def _head_variables(model):
    return [v for layer in model.layers if layer.name in HEADS for v in layer.variables]


def _dense(model):
    """The dense layers of attention and of MLPs."""
    found = []
    for layer in model.layers:
        parts = [part for part in keras_private.all_layers(layer) if isinstance(part, keras.layers.Dense)]
        if block_of(layer.name) or "fc1" in {part.name for part in parts}:
            found += parts
    return found
