"""The maps inside a model: what its blocks give, on the grid that the patches lie on."""

import re

from keras_vit.layers import GridOfTokens

BLOCK = r"(?:stage(\d+)_)?block\d+"
PARALLEL = r"parallel\d+"  # CoaT's blocks that carry on the last stages, several at once


def stage_maps(model):
    """The map after the last block of each stage, or after the stage's own norm (PVT v2), finest first.

    Returns:  {number of the stage: symbolic (B, H, W, C)}; models of one resolution have the stage 0 alone.
    """
    last = {}
    for layer in model.layers:
        found = re.fullmatch(rf"{BLOCK}|stage(\d+)_norm", layer.name)
        if found:
            last[int(found[1] or found[2] or 0)] = layer.output
        elif re.fullmatch(PARALLEL, layer.name):
            last.update(zip(sorted(last)[-len(layer.output) :], layer.output))
    return {stage: as_map(model, last[stage], stage) for stage in sorted(last)}


def block_names(model):
    """Names of the blocks, in the order of the model."""
    return [layer.name for layer in model.layers if re.fullmatch(f"{BLOCK}|{PARALLEL}", layer.name)]


def block_map(model, name):
    """The map that a block gives: symbolic (B, H, W, C). Of CoaT's parallel scales, the coarsest.

    Raises:  ValueError if no block of the model has this name.
    """
    blocks = block_names(model)
    if name not in blocks:
        raise ValueError(f"layer: expected a block of {model.name!r}, {_listed(blocks)}. Received: layer={name!r}")
    x, stage = model.get_layer(name).output, re.match(BLOCK, name)
    if stage is None:
        return as_map(model, x[-1], max(stage_maps(model)))
    return as_map(model, x, int(stage[1] or 0))


def as_map(model, x, stage):
    """(B, n + H W, C) -> (B, H, W, C), by the grid that the stage's patches had; a map stays as it is."""
    x = x[0] if isinstance(x, (list, tuple)) else x  # of TNT's two streams, that of the patches
    if len(x.shape) == 4:
        return x
    return GridOfTokens(*stage_grid(model, stage), name=f"grid_of_stage{stage}")(x)


def stage_grid(model, stage):
    """(H, W) of a stage's patches."""
    names = {layer.name for layer in model.layers}
    own = f"stage{stage}_patch_embed"  # a class token is carried by PVT's last stage, and by all of CoaT's
    return model.get_layer(own if own in names else "patch_embed").output.shape[1:3]


def require_blocks(model, function):
    """Raises unless the model has blocks of this library's names."""
    if not any(re.fullmatch(BLOCK, layer.name) for layer in getattr(model, "layers", ())):
        raise ValueError(
            f"{function}: expected a model of keras_vit.models. Received: {getattr(model, 'name', model)!r}, "
            "which has no layers named block<i> or stage<s>_block<i>"
        )


def _listed(names):
    return f"{', '.join(names[:3])}, ... or {names[-1]}" if len(names) > 4 else " or ".join(names)
