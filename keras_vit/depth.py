"""How deep each layer of a model lies: what layer-wise learning rates, freezing and linear probes go by."""

import re

BLOCK = re.compile(r"(?:stage\d+_)?(parallel\d+)|(?:stage\d+_)?block\d+")


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
    Raises:   ValueError for models without blocks.
    """
    blocks = [_block_of(layer.name) for layer in model.layers]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, blocks)), 1)}
    if not numbers:
        raise ValueError(
            f"depth_groups: expected a model of keras_vit.models. Received: {model.name!r}, "
            "which has no layers named block<i> or stage<s>_block<i>"
        )
    first = next(i for i, block in enumerate(blocks) if block)
    levels, level = {}, len(numbers) + 1
    for i, layer in reversed(list(enumerate(model.layers))):
        level = numbers.get(blocks[i], level) if i >= first else 0
        if layer.weights:
            levels[layer.name] = level
    return dict(reversed(levels.items()))


def _block_of(name):
    """block3 -> block3, stage0_block1_qkv -> stage0_block1, stage2_parallel1_qkv -> parallel1, merge1 -> None."""
    found = BLOCK.match(name)
    return found and (found[1] or found[0])
