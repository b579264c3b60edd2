"""How deep each layer of a model lies: for layer-wise learning rates, freezing and linear probes."""

from keras_vit.models.blocks import block_of, require_blocks


def depth_groups(model):
    """Level of depth of every top-level layer with weights: {name of the layer: level}.

    Level 0 is all that comes before the first block: stem, tokens, positions (of the hybrids the whole ResNet). Each
    block is a level of its own; what stands between two blocks, such as the merging of patches, prepares the second and
    has its level. The highest level is all that follows the last block: the final norm and the head. Of CoaT, a
    parallel block over three scales is one level, and a position encoding that blocks share has that of the first.

    Args:
        model: a model of this library, with or without its classifier, fresh or loaded from a .keras file.

    Returns:
        {"patch_embed": 0, "block0": 1, "block1": 2, "norm": 3, "head": 3}, say, in the order of the model.

    Raises:
        ValueError: for models without blocks.
    """
    require_blocks("depth_groups", model)
    found = [block_of(layer.name) for layer in model.layers]
    names = [block.name if block else None for block in found]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)), 1)}
    first = next(i for i, name in enumerate(names) if name)
    levels, level = {}, len(numbers) + 1
    for i, layer in reversed(list(enumerate(model.layers))):
        level = numbers.get(names[i], level) if i >= first else 0
        if layer.weights:
            levels[layer.name] = level
    return dict(reversed(levels.items()))
