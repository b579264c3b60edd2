"""The maps inside a model: the outputs of its blocks, on the grid that the patches lie on."""

from keras_vit.layers import TokensToGrid
from keras_vit.models.blocks import block_of, blocks, patch_map, stage_of


def stage_maps(model):
    """The map after the last block of each stage, or after the stage's own norm (PVT v2), finest first.

    Returns:
        {number of the stage: symbolic (B, H, W, C)}; models of one resolution have the stage 0 alone.
    """
    last, own = {}, {block.name: block for block in blocks(model)}
    for layer in model.layers:
        block, stage = own.get(layer.name), stage_of(layer.name)
        if block and block.parallel:
            last.update(zip(sorted(last)[-len(layer.output) :], layer.output))
        elif block or layer.name == f"stage{stage}_norm":
            last[stage or 0] = layer.output
    return {stage: as_map(model, last[stage], stage) for stage in sorted(last)}


def block_map(model, name):
    """The map after a block: symbolic (B, H, W, C). Of CoaT's parallel scales, the coarsest.

    Raises:
        ValueError: if no block of the model has this name.
    """
    names = [block.name for block in blocks(model)]
    if name not in names:
        raise ValueError(f"layer: expected a block of {model.name!r}, {listed(names)}. Received: layer={name!r}")
    x, stage = scales_of(model, name)[-1]
    return as_map(model, x, stage)


def scales_of(model, name):
    """What a block gives on: [(symbolic tokens or map, number of the stage whose grid it is on), ...].

    One of them, but for the parallel blocks of CoaT, finest first. Of TNT's two streams it is that of the patches. In
    a model of one resolution the stage is 0.
    """
    x, block = model.get_layer(name).output, block_of(name)
    if not block.parallel:
        return [(x[0] if isinstance(x, (list, tuple)) else x, block.stage or 0)]
    last = max(other.stage or 0 for other in blocks(model))
    return [(scale, last - len(x) + i) for i, scale in enumerate(x, 1)]


def as_map(model, x, stage, name=None):
    """(B, n + H W, C) -> (B, H, W, C), by the grid of the stage's patches; a map stays as it is."""
    x = x[0] if isinstance(x, (list, tuple)) else x  # of TNT's two streams, that of the patches
    if len(x.shape) == 4:
        return x
    return TokensToGrid(name=name or f"grid_of_stage{stage}")(x, patch_map(model, stage))


def listed(names):
    """Names for an error, of many the first three and the last."""
    return f"{', '.join(names[:3])}, ... or {names[-1]}" if len(names) > 4 else " or ".join(names)
