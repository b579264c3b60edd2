"""config.json of transformers, to a family's `Config`; `transformers_writer.py` is the way back.

What transformers has and no family here is an error that names the field, its value and what is supported. Rates of
dropout are not part of an architecture here, and are passed over.
"""

import dataclasses
import difflib

from keras_vit.models import convnext, deit, dinov2, pvt, pvt_v2, swin, vit
from keras_vit.models.config_fields import (
    MAX_DEPTH,
    SAME_ACTIVATIONS,
    Architecture,
    Fields,
    UnsupportedModelError,
    mlp_ratio,
)

_TANH = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_python_tanh")
# transformers' names; of several for one, the first is written
ACTIVATIONS = SAME_ACTIVATIONS | {name: "gelu_tanh" for name in _TANH}
ACTIVATIONS |= {"gelu_python": "gelu", "swish": "silu", "linear": "linear"}

COMMON = {"num_channels": 3, "image_size": 224, "hidden_act": "gelu", "qkv_bias": True}
_ENCODER = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_PLAIN = COMMON | _ENCODER | {"layer_norm_eps": 1e-12, "patch_size": 16}
_DINOV2 = COMMON | _ENCODER | {"layer_norm_eps": 1e-6, "patch_size": 14, "mlp_ratio": 4, "use_swiglu_ffn": False}
_PYRAMID = COMMON | {"layer_norm_eps": 1e-6, "depths": [2, 2, 2, 2], "strides": [4, 2, 2, 2]}
_PYRAMID |= {"num_attention_heads": [1, 2, 5, 8], "mlp_ratios": [8, 8, 4, 4]}
DEFAULTS = {
    "vit": _PLAIN,
    "vit_mae": _PLAIN,
    "deit": _PLAIN,
    "swin": COMMON
    | {"patch_size": 4, "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
    | {"mlp_ratio": 4.0, "use_absolute_embeddings": False, "layer_norm_eps": 1e-5},
    "convnext": COMMON
    | {"patch_size": 4, "hidden_sizes": [96, 192, 384, 768], "depths": [3, 3, 9, 3], "layer_norm_eps": 1e-12}
    | {"layer_scale_init_value": 1e-6},
    "pvt": _PYRAMID
    | {"patch_sizes": [4, 2, 2, 2], "hidden_sizes": [64, 128, 320, 512], "sequence_reduction_ratios": [8, 4, 2, 1]},
    "pvt_v2": _PYRAMID
    | {"patch_sizes": [7, 3, 3, 3], "hidden_sizes": [32, 64, 160, 256], "sr_ratios": [8, 4, 2, 1]}
    | {"linear_attention": False},
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2 | {"num_register_tokens": 4},
}
CLASSES = {  # what transformers calls the models: without a classifier, and with one
    "vit": ("ViTModel", "ViTForImageClassification"),
    "vit_mae": ("ViTMAEModel", None),
    "deit": ("DeiTModel", "DeiTForImageClassification"),
    "swin": ("SwinModel", "SwinForImageClassification"),
    "convnext": ("ConvNextModel", "ConvNextForImageClassification"),
    "pvt": ("PvtModel", "PvtForImageClassification"),
    "pvt_v2": ("PvtV2Model", "PvtV2ForImageClassification"),
    "dinov2": ("Dinov2Model", "Dinov2ForImageClassification"),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", "Dinov2WithRegistersForImageClassification"),
}
TEACHER = "DeiTForImageClassificationWithTeacher"


def read(folder):
    """The `Architecture` of an opened `LibraryFolder`.

    Raises:
        UnsupportedModelError: for a model that is not here (with the closest), and for what a family does not have.
    """
    model_type = folder.entries.get("model_type") or _type_of(folder.name)
    if model_type not in READERS:
        text = str(model_type or folder.name).lower()
        near = difflib.get_close_matches(text, READERS, n=2, cutoff=0.4)
        near += [known for known in READERS if text.startswith(known) and known not in near]
        raise UnsupportedModelError(
            f"{folder.config}: {folder.name} (model_type {str(model_type)[:50]!r}) is no model of this library. "
            f"Closest: {', '.join(near) or 'none'}. Supported: {', '.join(READERS)}."
        )
    fields = Fields(folder.config, folder.entries, DEFAULTS[model_type])
    family, config = READERS[model_type](fields, folder)
    architecture = Architecture(family, config, (*fields.sides("image_size"), fields.whole("num_channels")))
    architecture.check(folder.config)
    if family is swin.SWIN:
        _require_same_shifts(fields, config, architecture.input_shape)
    return architecture


def _type_of(name):
    """The model type of a class, for a config.json without one."""
    return "deit" if name == TEACHER else next((kind for kind, names in CLASSES.items() if name in names), None)


def _vit(fields, folder):
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    fields.require_heads("num_attention_heads", [width], [heads])
    config = vit.Config(
        width,
        fields.whole("num_hidden_layers", MAX_DEPTH),
        heads,
        fields.side("patch_size"),
        mlp_ratio=mlp_ratio(width, fields.whole("intermediate_size")),
        epsilon=fields.number("layer_norm_eps", 1),
        qkv_bias=fields.flag("qkv_bias"),
        activation=fields.choice("hidden_act", ACTIVATIONS),
    )
    return vit.VIT, config


def _deit(fields, folder):
    return deit.DEIT_DISTILLED if folder.name == TEACHER else deit.DEIT_ONE_HEAD, _vit(fields, folder)[1]


def _swin(fields, folder):
    fields.require("use_absolute_embeddings", False)
    depths, width = fields.wholes("depths", MAX_DEPTH), fields.whole("embed_dim")
    heads = fields.wholes("num_heads", length=len(depths))
    fields.require_heads("num_heads", [width * 2**s for s in range(len(depths))], heads)
    config = swin.Config(
        width,
        depths,
        heads,
        fields.whole("window_size", 128),
        fields.side("patch_size"),
        fields.number("mlp_ratio"),
        fields.number("layer_norm_eps", 1),
        fields.flag("qkv_bias"),
        fields.choice("hidden_act", ACTIVATIONS),
    )
    if swin.pads_what_it_shifts(config, *fields.sides("image_size")):
        config = dataclasses.replace(config, pad_first=True)
    return swin.SWIN, config


def _require_same_shifts(fields, config, input_shape):
    """Raise for images on whose maps transformers' windows are not those of the paper.

    A window as high as the map, but not as wide, is shifted along the width in the paper, and not at all there.
    """
    grid = [side // config.patch_size for side in input_shape[:2]]
    for _ in config.depths:
        covers = [side <= config.window_size for side in grid]
        if any(covers) and not all(covers) or all(covers) and grid[0] != grid[1]:
            raise fields.wrong("image_size", f"square images: on a map of {grid} transformers shifts no window")
        grid = [-(-side // 2) for side in grid]


def _convnext(fields, folder):
    depths = fields.wholes("depths", MAX_DEPTH)
    if fields["num_stages"] not in (None, len(depths)):
        raise fields.wrong("num_stages", f"{len(depths)}, as many as depths")
    scale = fields["layer_scale_init_value"]
    config = convnext.Config(
        depths,
        fields.wholes("hidden_sizes", length=len(depths)),
        fields.side("patch_size"),
        isinstance(scale, (int, float)) and scale > 0,
        fields.number("layer_norm_eps", 1),
        fields.choice("hidden_act", ACTIVATIONS),
    )
    return convnext.CONVNEXT, config


def _pyramid(fields, ratios):
    """What PVT and PVT v2 share: arguments of their `Config`, and the number of stages."""
    depths = fields.wholes("depths", MAX_DEPTH)
    stages = len(depths)
    if fields["num_encoder_blocks"] not in (None, stages):
        raise fields.wrong("num_encoder_blocks", f"{stages}, as many as depths")
    widths, heads = fields.wholes("hidden_sizes", length=stages), fields.wholes("num_attention_heads", length=stages)
    fields.require_heads("num_attention_heads", widths, heads)
    epsilon = fields.number("layer_norm_eps", 1)
    shared = {
        "depths": depths,
        "embed_dims": widths,
        "num_heads": heads,
        "mlp_ratios": fields.numbers("mlp_ratios", stages),
        "sr_ratios": fields.wholes(ratios, 64, length=stages),
        "epsilon": epsilon,
        "patch_epsilon": epsilon,
        "qkv_bias": fields.flag("qkv_bias"),
        "activation": fields.choice("hidden_act", ACTIVATIONS),
    }
    return shared, stages


def _pvt(fields, folder):
    shared, stages = _pyramid(fields, "sequence_reduction_ratios")
    sizes = fields.wholes("patch_sizes", 64, length=stages)
    if sizes[1:] != (2,) * (stages - 1):
        raise fields.wrong("patch_sizes", "2 for all stages but the first")
    if fields.wholes("strides", 64, length=stages) != sizes:
        raise fields.wrong("strides", f"the same as patch_sizes, {list(sizes)}")
    if shared["sr_ratios"][-1] != 1:
        raise fields.wrong("sequence_reduction_ratios", "1 for the last stage, whose tokens are no map")
    return pvt.PVT, pvt.Config(patch_size=sizes[0], **shared)


def _pvt_v2(fields, folder):
    shared, stages = _pyramid(fields, "sr_ratios")
    if fields.flag("linear_attention"):
        shared["sr_ratios"] = None
    patches = fields.wholes("patch_sizes", 64, length=stages), fields.wholes("strides", 64, length=stages)
    return pvt_v2.PVT_V2, pvt_v2.Config(patch_sizes=patches[0], strides=patches[1], **shared)


def _dinov2(fields, folder):
    gated = fields.flag("use_swiglu_ffn")
    if not gated:
        fields.require("hidden_act", "gelu", "gelu_python")
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    fields.require_heads("num_attention_heads", [width], [heads])
    registers = fields.whole("num_register_tokens", 256) if fields["num_register_tokens"] else 0
    config = dinov2.Config(
        width,
        fields.whole("num_hidden_layers", MAX_DEPTH),
        heads,
        fields.side("patch_size"),
        mlp="swiglu" if gated else "gelu",
        registers=registers,
        pool="token_and_mean" if folder.classes != 0 else "token",
        mlp_ratio=fields.number("mlp_ratio"),
        qkv_bias=fields.flag("qkv_bias"),
        epsilon=fields.number("layer_norm_eps", 1),
    )
    return dinov2.DINOV2_REGISTERS if registers else dinov2.DINOV2, config


READERS = {
    "vit": _vit,
    "vit_mae": _vit,
    "deit": _deit,
    "swin": _swin,
    "convnext": _convnext,
    "pvt": _pvt,
    "pvt_v2": _pvt_v2,
    "dinov2": _dinov2,
    "dinov2_with_registers": _dinov2,
}
