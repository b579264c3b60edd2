"""Which architecture a model has, read from its layers: a `.keras` file holds layers, and no `Family` or `Config`.

Each family's `Config` is read from the layers' arguments and sizes. That it is right is then shown, not supposed: the
model is built again from it without weights, and must have the same layers and variables.
"""

from dataclasses import dataclass
from typing import Any

import keras

from keras_vit.models import blocks, coat, convnext, deit, dinov2, family, hybrid, pvt, pvt_v2, swin, tnt, vit
from keras_vit.models.config_fields import Architecture

# Arguments of layers that change neither what a trained model computes nor its variables.
UNTOLD = (
    "name",
    "grid",
    "kernel",
    "antialias",
    "offset",
    "dtype",
    "trainable",
    "drop_path_rate",
    "seed",
    "layer_scale",
    "activity_regularizer",
    "renorm",
)
BEFORE = ("normalization", "image_size", "map_size")  # layers that the size of the images asks for, or their values
_PARTS, _OPTIONS = ("kernel", "bias", "gamma", "beta", "depthwise"), ("initializer", "regularizer", "constraint")
UNTOLD += tuple(f"{part}_{option}" for part in _PARTS for option in _OPTIONS)


@dataclass(frozen=True)
class Recognized:
    """A model of a family, as it could be built again.

    Attributes:
        architecture: its `Architecture`.
        classes: of its classifier; None without one.
        activation: of the classifier, as Keras names it; None without one.
        takes_pixels: whether it begins with its own normalisation (include_preprocessing).
    """

    architecture: Architecture
    classes: int | None
    activation: Any
    takes_pixels: bool


def recognize(model):
    """What a model of `keras_vit.models` is.

    Args:
        model: built by a constructor of `keras_vit.models`, or loaded from a .keras file of one.

    Returns:
        A `Recognized`.

    Raises:
        ValueError: for any other model, also for one whose layers were changed.
    """
    parts = _Parts(model)
    for kind, read in READERS:
        try:
            config = read(parts)
        except (KeyError, AttributeError, IndexError, TypeError, ValueError):  # it lacks a layer of that family
            continue
        if _is_the_same(parts, kind, config):
            architecture = Architecture(kind, config, parts.input_shape)
            return Recognized(architecture, parts.classes, parts.activation, "normalization" in parts.layers)
    raise ValueError(
        f"{getattr(model, 'name', model)!r} is no model of a family that can be written for another library. Expected "
        f"one built by keras_vit.models, unchanged: {', '.join(dict.fromkeys(kind.name for kind, _ in READERS))}. "
        "keras_vit.save_weights(model, path, layout='keras') writes any"
    )


class _Parts:
    """The layers of a model, and what their arguments and sizes say."""

    def __init__(self, model):
        self.model = model
        self.layers = {layer.name: layer for layer in getattr(model, "layers", ())}
        self.blocks = blocks.blocks(model)

    @property
    def input_shape(self):
        """(H, W, C) of its images, padded; of a model of any size, those that its positions are kept for."""
        shape, sized = tuple(self.model.inputs[0].shape[1:]), self.layers.get("image_size")
        if sized is None:
            return shape
        return (*(sized.native_size or sized.output.shape[1:3]), shape[-1])

    @property
    def classes(self):
        """K, or None without a classifier."""
        return self.layers["head"].units if "head" in self.layers else None

    @property
    def activation(self):
        """Of the classifier, as Keras names it; where there are two, it follows their mean."""
        last = next((self.layers[name] for name in ("predictions", "head") if name in self.layers), None)
        return last.get_config()["activation"] if last is not None else None

    @property
    def pooling(self):
        """What the constructor's `pooling` was, of a model without a classifier."""
        if "pooled_token" in self.layers:
            return "token"
        kinds = {keras.layers.GlobalAveragePooling2D: "avg", keras.layers.GlobalMaxPooling2D: "max"}
        return kinds.get(type(self.layers.get("pool")))

    def told(self, name):
        """The arguments of a layer."""
        return self.layers[name].get_config()

    def weight(self, name, attribute="kernel"):
        """The shape of a variable of a layer."""
        return tuple(getattr(self.layers[name], attribute).shape)

    @property
    def depth(self):
        """Blocks of a model of one resolution."""
        return sum(block.stage is None and not block.parallel for block in self.blocks)

    @property
    def depths(self):
        """Blocks of each stage."""
        stages = [block.stage for block in self.blocks if block.stage is not None]
        return tuple(stages.count(s) for s in range(max(stages) + 1))

    def per_stage(self, argument):
        """An argument of each stage's blocks."""
        return tuple(self.told(f"stage{s}_block0")[argument] for s in range(len(self.depths)))


def _is_the_same(parts, kind, config):
    """Whether a family builds the same layers and variables from a `Config`."""
    head = family.Head(parts.classes is not None, parts.pooling, parts.classes or 1, parts.activation, 0.0)
    try:
        kind.check_size(config, *parts.input_shape[:2])
        image = keras.Input(parts.input_shape)
        again = keras.Model(image, kind.build(config, image, head))
    except (ValueError, TypeError, AttributeError):
        return False
    return _facts(parts.model) == _facts(again)


def _facts(model):
    """The layers of a model, their arguments, and the shapes of its variables."""
    layers = {}
    for layer in model.layers:
        if not isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout)) and layer.name not in BEFORE:
            told = {key: _as_stored(value) for key, value in layer.get_config().items() if key not in UNTOLD}
            layers[layer.name] = (type(layer).__name__, told)
    return layers, {variable.path: tuple(variable.shape) for variable in model.weights}


def _as_stored(value):
    """An argument as a .keras file gives it back: tuples have become lists."""
    if isinstance(value, dict):
        return {key: _as_stored(one) for key, one in value.items()}
    return [_as_stored(one) for one in value] if isinstance(value, (list, tuple)) else value


# Configs of families -------------------------------------------------------------------------------------------------


def _vit(parts):
    block, (P, *_, D) = parts.told("block0"), parts.weight("patch_embed")
    pool = "token" if "class_token" in parts.layers else "gap"
    tables = {"PositionEmbedding": "learned_1d", "GridPositionEmbedding": "learned_2d"}
    positions = tables.get(type(parts.layers.get("positions")).__name__, "none")
    return vit.Config(
        D,
        parts.depth,
        block["num_heads"],
        P,
        block["mlp_ratio"],
        "pre_logits" in parts.layers,
        pool,
        "relative" if block["relative_positions"] else positions,
        **_options(block),
    )


def _options(block, *more):
    """Arguments of a block that a `Config` has under the same names."""
    return {name: block[name] for name in ("epsilon", "qkv_bias", "activation", *more)}


def _dinov2(parts):
    block, (P, *_, D) = parts.told("block0"), parts.weight("patch_embed")
    gated = type(parts.layers["block0"]) is dinov2.SwiGLUBlock
    return dinov2.Config(
        D,
        parts.depth,
        block["num_heads"],
        P,
        "swiglu" if gated else block["activation"],
        parts.told("registers")["count"] if "registers" in parts.layers else 0,
        "token_and_mean" if "token_and_mean" in parts.layers else "token",
        block["mlp_ratio"],
        block["qkv_bias"],
        block["epsilon"],
    )


def _dinov2_registers(parts):
    parts.layers["registers"]
    return _dinov2(parts)


def _swin(parts):
    block, (P, *_, C) = parts.told("stage0_block0"), parts.weight("patch_embed")
    window = max(max(parts.told(each.name)["window_size"]) for each in parts.blocks)  # smaller ones are cut to the map
    options = _options(block, "pad_first")
    return swin.Config(C, parts.depths, parts.per_stage("num_heads"), window, P, block["mlp_ratio"], **options)


def _convnext(parts):
    block, stages = parts.told("stage0_block0"), range(1, len(parts.depths))
    stem = parts.weight("stem")
    dims = (stem[-1], *(parts.weight(f"downsample{s}")[-1] for s in stages))
    epsilon = parts.told("norm")["epsilon"]
    return convnext.Config(parts.depths, dims, stem[0], block["layer_scale"], epsilon, block["activation"])


def _isotropic(parts):
    (P, *_, C), scale = parts.weight("stem"), parts.told("stage0_block0")["layer_scale"]
    (depth,) = parts.depths
    return convnext.IsotropicConfig(depth, C, scale, P)


def _pyramid(parts):
    """What PVT and PVT v2 share: arguments of their `Config`."""
    stages, block = range(len(parts.depths)), parts.told("stage0_block0")
    return {
        "depths": parts.depths,
        "embed_dims": tuple(parts.weight(f"stage{s}_patch_embed")[-1] for s in stages),
        "num_heads": parts.per_stage("num_heads"),
        "mlp_ratios": parts.per_stage("mlp_ratio"),
        **_options(block, "patch_epsilon"),
    }


def _pvt(parts):
    P = parts.weight("stage0_patch_embed")[0]
    return pvt.Config(sr_ratios=parts.per_stage("reduction"), patch_size=P, **_pyramid(parts))


def _pvt_v2(parts):
    reductions, layers = parts.per_stage("reduction"), [f"stage{s}_patch_embed" for s in range(len(parts.depths))]
    return pvt_v2.Config(
        sr_ratios=None if None in reductions else reductions,
        patch_sizes=tuple(parts.weight(name)[0] for name in layers),
        strides=tuple(parts.told(name)["strides"][0] for name in layers),
        **_pyramid(parts),
    )


def _tnt(parts):
    block, embed = parts.told("block0"), parts.told("pixel_embed")
    heads = (block["num_heads"], embed["embed_dim"], block["inner_heads"])
    D = parts.weight("class_token", "token")[-1]
    return tnt.Config(D, parts.depth, *heads, embed["patch_size"], block["mlp_ratio"], block["legacy"])


def _coat(parts):
    parts.layers["aggregate"]  # without which it is a CoaT-Lite
    return _coat_lite(parts)


def _coat_lite(parts):
    parallel = sum(block.parallel for block in parts.blocks)
    dims = tuple(parts.weight(f"stage{s}_patch_embed")[-1] for s in range(len(parts.depths)))
    groups = tuple(parts.told("crpe0")["head_groups"])
    return coat.Config(dims, parts.depths, parts.per_stage("mlp_ratio"), parallel, groups)


def _hybrid(parts):
    units = [name.split("_unit")[0] for name in parts.layers if "_unit" in name]
    depths = tuple(units.count(f"stage{s}") for s in range(len(set(units))))
    parts.layers["stem_conv"]  # without which it is a ViT
    return hybrid.Config(depths, _vit(parts))


READERS = (  # of two families that build the same, the first is named
    (vit.VIT, _vit),
    (deit.DEIT_DISTILLED, _vit),
    (deit.DEIT_ONE_HEAD, _vit),
    (deit.DEIT3, _vit),
    (dinov2.DINOV2_REGISTERS, _dinov2_registers),
    (dinov2.DINOV2, _dinov2),
    (hybrid.HYBRID, _hybrid),
    (swin.SWIN, _swin),
    (convnext.CONVNEXT, _convnext),
    (convnext.CONVNEXT_ISOTROPIC, _isotropic),
    (pvt.PVT, _pvt),
    (pvt_v2.PVT_V2, _pvt_v2),
    (tnt.TNT, _tnt),
    (coat.COAT, _coat),
    (coat.COAT_LITE, _coat_lite),
)
