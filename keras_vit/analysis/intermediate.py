"""Features from any block: what timm calls `forward_intermediates`, and DINOv2 `get_intermediate_layers`."""

from collections.abc import Iterable
from numbers import Integral

import keras
from keras import layers

from keras_vit.analysis.maps import as_map, listed, scales_of
from keras_vit.layers import SelectToken
from keras_vit.models.blocks import blocks as blocks_of
from keras_vit.models.blocks import has_class_token, norm_name, require_blocks

CLASS_TOKEN = "_class_token"  # how the names of outputs end that are class tokens


@keras.saving.register_keras_serializable("keras_vit")
class IntermediateFeatures(keras.Model):
    """A functional model whose outputs are those of blocks, a list of one or a pair for each."""

    def call(self, inputs, training=None, mask=None):
        outputs = super().call(inputs, training=training, mask=mask)
        pairs = self.output_names[-1].endswith(CLASS_TOKEN)
        alone = len(self.outputs) == (2 if pairs else 1)  # of one block, Keras gives the output without its list
        return [outputs] if alone else outputs

    def export(self, *args, **kwargs):
        """As `keras.Model.export`; the outputs of the exported signature have the names `output_names`."""
        named = dict(zip(self.output_names, self.outputs))  # signatures have no pairs
        return keras.Model(self.inputs[0], named, name=self.name).export(*args, **kwargs)


def intermediate_features(model, blocks=4, norm=True, maps=True, class_token=False):
    """A functional model with what chosen blocks give on: a list of one output for each, in the order of the model.

    Blocks are counted from 0 through the whole model, also where it has stages: `SwinT` has the blocks 0 to 11, of
    which 4 is "stage2_block0". Each map has the grid of its own stage. A parallel block of CoaT gives on three scales:
    "parallel5" is the coarsest, "parallel5/stage1" the finest.

    The norm of a stage is the one that the places of its last block go through in the model: in models of one
    resolution the final one, which all blocks get; in Swin and PVT that of the last stage; in CoaT those of the scales;
    in PVT v2 one for each stage, part of it, so that the last block of a stage gets it even without `norm`. Other
    blocks, and all of ConvNeXt, whose norm comes after pooling, are left as they are.

    Args:
        model: a model of this library, with or without its classifier, fresh or loaded from a .keras file, of a fixed
            size or of any size.
        blocks: how many of the last blocks; or which, a list of numbers, negative ones from the end, and of names.
        norm: whether outputs go through the norm of their stage, as for DINOv2's own heads.
        maps: whether outputs are maps (B, H, W, C); if not, sequences (B, H W, C) in reading order. Class and
            distillation tokens and registers are left out of both.
        class_token: whether each output is a pair, with the class token (B, C) behind the map.

    Returns:
        keras.Model that shares the layers of `model`, to be called, trained, saved and exported as any other. Its
        `output_names`, "block11_map" and the like, are those of an exported signature.

    Raises:
        ValueError: for models without blocks, blocks that the model does not have or that are named twice, and
            class_token=True for blocks without one.
    """
    require_blocks("intermediate_features", model)
    outputs = [_features(model, *chosen, norm, maps, class_token) for chosen in _chosen(model, blocks)]
    return IntermediateFeatures(model.inputs[0], outputs, name=f"{model.name}_features")


def _features(model, name, x, stage, norm, maps, class_token):
    """The output of one block, and a class token beside it.

    Args:
        name: of the block.
        x: symbolic (B, n + H W, C) or (B, H, W, C).
        stage: number of the stage whose grid it is on.
        norm, maps, class_token: as for `intermediate_features`.
    """
    prefix = name.replace("/", "_")
    behind = norm_name(model, stage) if norm or _ends_in_its_norm(model, name, stage) else None
    if behind and model.get_layer(behind).output.shape[-1] == x.shape[-1]:  # T2T-ViT-Dense widens from block to block
        x = model.get_layer(behind)(x)
    features = as_map(model, x, stage, name=f"{prefix}_grid")
    if maps:
        features = layers.Identity(name=f"{prefix}_map")(features)
    else:
        features = layers.Reshape((-1, x.shape[-1]), name=f"{prefix}_patches")(features)
    if not class_token:
        return features
    if len(x.shape) != 3 or not has_class_token(model, stage):
        raise ValueError(
            f"class_token: {name!r} of {model.name!r} has no class token. Expected blocks that have one, such as those "
            "of ViT, DeiT, DINOv2, TNT, T2T-ViT and CoaT, and of the last stage of PVT v1; or class_token=False"
        )
    return features, SelectToken(name=f"{prefix}{CLASS_TOKEN}")(x)


def _ends_in_its_norm(model, name, stage):
    """Whether a block is the last of a stage whose norm stands before the next stage (PVT v2)."""
    last = [block.name for block in blocks_of(model) if block.stage == stage][-1:]
    return last == [name] and norm_name(model, stage) == f"stage{stage}_norm"


def _chosen(model, chosen):
    """The outputs that are asked for, in the order of the model: [(name, symbolic output, stage), ...]."""
    names = [block.name for block in blocks_of(model)]
    if _is_number(chosen):
        if not 0 < chosen <= len(names):
            raise ValueError(
                f"blocks: expected 1 to {len(names)}, as many as {model.name!r} has, or a list. Received: "
                f"blocks={chosen!r}"
            )
        chosen = names[-chosen:]
    elif isinstance(chosen, str) or not isinstance(chosen, Iterable):
        raise ValueError(f"blocks: expected a number of blocks, or a list of them. Received: blocks={chosen!r}")
    asked = list(chosen)
    found = dict(_find(model, names, name) for name in asked)
    if not asked or len(found) < len(asked):
        raise ValueError(f"blocks: expected at least one block, and each once. Received: blocks={chosen!r}")
    return [found[place] for place in sorted(found)]


def _find(model, names, asked):
    """The output of one block: its place in the order of the model, and (name, symbolic output, stage)."""
    name = asked
    if _is_number(asked) and -len(names) <= asked < len(names):
        name = names[asked]
    block, _, scale = name.partition("/") if isinstance(name, str) else ("", "", "")
    scales = {f"stage{stage}": (x, stage) for x, stage in scales_of(model, block)} if block in names else {}
    scale = scale or next(reversed(scales), None)
    if scale not in scales:
        raise ValueError(
            f"blocks: expected numbers from {-len(names)} to {len(names) - 1}, or names, {listed(names)} of "
            f"{model.name!r}. Received: {asked!r}"
        )
    x, stage = scales[scale]
    return (names.index(block), stage), (name, x, stage)


def _is_number(value):
    return isinstance(value, Integral) and not isinstance(value, bool)
