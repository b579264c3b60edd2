"""config.json of timm: its architecture's name and `model_args`, to a family's `Config`, and from it.

A name stands for the `Config` of the variant that has it, which `model_args` then changes. What timm has and no family
here is an error that names the argument, its value and what is supported.
"""

import dataclasses

from keras_vit.models import VARIANTS, convnext, deit, dinov2, hybrid, pvt_v2, swin, vit
from keras_vit.models.config_fields import (
    MAX_DEPTH,
    SAME_ACTIVATIONS,
    Architecture,
    Fields,
    UnsupportedModelError,
    mlp_ratio,
)
from keras_vit.sources import registry

# timm's names
ACTIVATIONS = SAME_ACTIVATIONS | {"gelu_tanh": "gelu_tanh", "swish": "silu", "identity": "linear"}
WRITTEN = {own: name for name, own in ACTIVATIONS.items() if name != "swish"}
PASSED_OVER = (  # arguments that are no part of the architecture, or stand elsewhere
    *(
        "img_size",
        "in_chans",
        "num_classes",
        "dynamic_img_size",
        "dynamic_img_pad",
        "strict_img_size",
        "weight_init",
        "fix_init",
    ),
    *("global_pool", "head_init_scale", "pretrained_strict", "device", "dtype", "scriptable", "exportable"),
)
NOT_IN_TIMM = ("t2t_", "convnext_isotropic_", "tnt_ti_", "pvt_tiny", "pvt_small", "pvt_medium", "pvt_large")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """timm's arguments of a family.

    Attributes:
        base: the architecture that is written for a `Config` in no table.
        read: {argument: (field of the `Config`, method of `Fields`)}.
        fixed: {argument: values that change nothing here}.
        pool: of the classifier.
        sized: whether the image size is an argument.
    """

    base: str
    read: dict
    fixed: dict = dataclasses.field(default_factory=dict)
    pool: str = "token"
    sized: bool = True


_ENCODER = {
    "embed_dim": ("embed_dim", Fields.whole),
    "depth": ("depth", lambda fields, name: fields.whole(name, MAX_DEPTH)),
    "num_heads": ("num_heads", Fields.whole),
    "patch_size": ("patch_size", Fields.side),
    "mlp_ratio": ("mlp_ratio", Fields.number),
    "qkv_bias": ("qkv_bias", Fields.flag),
}
_ACTIVATION = {"act_layer": ("activation", lambda fields, name: fields.choice(name, ACTIVATIONS))}
_STAGES = {"depths": ("depths", lambda fields, name: fields.wholes(name, MAX_DEPTH))}
_NONE = {"class_token": (True,), "pre_norm": (False,), "final_norm": (True,), "fc_norm": (None, False)}
_NONE |= {"qk_norm": (False,), "proj_bias": (True,), "pos_embed": ("learn",)}
_PLAIN = _NONE | {"no_embed_class": (False,), "reg_tokens": (0,), "init_values": (None,)}


def _stem(fields, name):
    """The side of ConvNeXt's first patches; behind those of 2 pixels timm's first stage has a stride of 2."""
    if fields[name] == 2:
        raise fields.wrong(name, "other patches than of 2 pixels, behind which timm halves the map once more")
    return fields.side(name)


FAMILIES = (
    (vit.VIT, Arguments("vit_base_patch16_224", _ENCODER | _ACTIVATION, _PLAIN)),
    (deit.DEIT, Arguments("deit_base_patch16_224", _ENCODER | _ACTIVATION, _PLAIN)),
    (deit.DEIT_DISTILLED, Arguments("deit_base_distilled_patch16_224", _ENCODER | _ACTIVATION, _PLAIN)),
    (deit.DEIT3, Arguments("deit3_base_patch16_224", _ENCODER | _ACTIVATION, _NONE | {"no_embed_class": (True,)})),
    (dinov2.DINOV2, Arguments("vit_base_patch14_dinov2", _ENCODER, _NONE | {"reg_tokens": (0,)})),
    (
        dinov2.DINOV2_REGISTERS,
        Arguments(
            "vit_base_patch14_reg4_dinov2",
            _ENCODER | {"reg_tokens": ("registers", lambda fields, name: fields.whole(name, 256))},
            _NONE | {"no_embed_class": (True,)},
        ),
    ),
    (
        swin.SWIN,
        Arguments(
            "swin_base_patch4_window7_224",
            _STAGES
            | {"embed_dim": _ENCODER["embed_dim"], "num_heads": ("num_heads", Fields.wholes)}
            | {"window_size": ("window_size", lambda fields, name: fields.whole(name, 128))}
            | {name: _ENCODER[name] for name in ("patch_size", "mlp_ratio", "qkv_bias")},
            {"head_dim": (None,), "always_partition": (False,)},
            "avg",
        ),
    ),
    (
        convnext.CONVNEXT,
        Arguments(
            "convnext_base",
            _STAGES | {"dims": ("dims", Fields.wholes), "patch_size": ("patch_size", _stem)} | _ACTIVATION,
            {"kernel_sizes": (7,), "stem_type": ("patch",), "conv_mlp": (True, False), "conv_bias": (True,)}
            | {"use_grn": (False,), "head_norm_first": (False,), "head_hidden_size": (None,), "output_stride": (32,)}
            | {"norm_eps": (None, 1e-6)},
            "avg",
            sized=False,
        ),
    ),
    (
        pvt_v2.PVT_V2,
        Arguments(
            "pvt_v2_b2",
            _STAGES
            | {"embed_dims": ("embed_dims", Fields.wholes), "num_heads": ("num_heads", Fields.wholes)}
            | {"sr_ratios": ("sr_ratios", Fields.wholes), "qkv_bias": _ENCODER["qkv_bias"]}
            | {"mlp_ratios": ("mlp_ratios", lambda fields, name: fields.numbers(name, len(fields[name])))},
            {},
            "avg",
            sized=False,
        ),
    ),
)


def read(folder):
    """The `Architecture` of an opened `LibraryFolder`.

    Raises:
        UnsupportedModelError: for a model that is not here (with the closest), and for what a family does not have.
    """
    try:
        entry, _ = registry.lookup(folder.name)
    except ValueError as error:
        raise UnsupportedModelError(f"{folder.config}: {str(error)[:400]}") from error
    arguments = folder.entries.get("model_args") or {}
    if not isinstance(arguments, dict):
        raise folder.wrong("model_args", arguments, "an object")
    variant, fields = VARIANTS[entry.name], Fields(f"{folder.config}, model_args", arguments, {})
    known = _arguments(variant.family)
    config = _changed(variant, fields, arguments, known)
    _require_pool(fields, folder, known)
    architecture = Architecture(variant.family, config, _input_shape(folder, fields, known))
    architecture.check(folder.config)
    return architecture


def _arguments(family):
    """The `Arguments` of a family; of one without any that can be changed, those of its name alone."""
    found = next((arguments for known, arguments in FAMILIES if known is family), None)
    return found or Arguments("", {}, {}, "token" if family is hybrid.HYBRID else "", True)


def _changed(variant, fields, arguments, known):
    """The variant's `Config` with what model_args change."""
    changes, linear = {}, getattr(variant.config, "sr_ratios", ()) is None
    for name, value in arguments.items():
        if name in PASSED_OVER or name.endswith(("drop_rate", "_rate")) or value is None:
            continue
        if name == "linear" and variant.family is pvt_v2.PVT_V2:
            linear = fields.flag(name)
        elif name == "ls_init_value" and variant.family is convnext.CONVNEXT or name == "init_values":
            _require_scale(variant, fields, name)
        elif name in known.read:
            field, method = known.read[name]
            changes[field] = method(fields, name)
        elif value not in known.fixed.get(name, ()):
            expected = (
                " or ".join(map(repr, known.fixed.get(name, ()))) or f"no argument of this name for {variant.name}"
            )
            raise fields.wrong(name, expected)
    if variant.family is pvt_v2.PVT_V2 and linear:  # whose ratios do nothing
        changes["sr_ratios"] = None
    if getattr(variant.config, "mlp", "gelu") == "swiglu":
        changes |= _gated(variant, fields, changes)
    return _consistent(dataclasses.replace(variant.config, **changes), fields)


def _gated(variant, fields, changes):
    """The ratio of a gated MLP, by which timm counts its gates and values together."""
    if not {"embed_dim", "mlp_ratio"} & set(changes):
        return {}
    D = changes.get("embed_dim", variant.config.embed_dim)
    hidden = int(D * changes.get("mlp_ratio", 2.66667 * 2)) // 2  # by default as in timm's giant
    ratio = 1.5 * hidden / D
    if dinov2.gated_width(D, ratio) != hidden:
        raise fields.wrong("mlp_ratio", f"one for which a gated MLP has a multiple of 8 channels; {hidden} here")
    return {"mlp_ratio": ratio}


def _require_scale(variant, fields, name):
    """Layer scale is there or not; where it starts from does not matter to trained weights."""
    if variant.family in (vit.VIT, deit.DEIT, deit.DEIT_DISTILLED):
        raise fields.wrong(name, f"no layer scale, which {variant.name} does not have")
    fields.number(name)


def _consistent(config, fields):
    """The config, if its lists are of one length and its heads divide its widths."""
    stages = [value for value in vars(config).values() if isinstance(value, tuple)]
    if isinstance(config, (swin.Config, convnext.Config)) and len(set(map(len, stages))) > 1:
        raise UnsupportedModelError(f"{fields.where}: expected one value per stage in each list. Received: {stages}")
    widths, heads = getattr(config, "embed_dims", None), getattr(config, "num_heads", None)
    if isinstance(config, swin.Config):
        widths = [config.embed_dim * 2**s for s in range(len(config.depths))]
    if isinstance(heads, int):
        widths, heads = [config.embed_dim], [heads]
    if widths and heads and any(width % number for width, number in zip(widths, heads)):
        raise UnsupportedModelError(f"{fields.where}: num_heads={list(heads)} must divide the widths {list(widths)}")
    return config


def _require_pool(fields, folder, known):
    pool = fields["global_pool"] or folder.entries.get("global_pool") or known.pool
    if known.pool and pool != known.pool:
        raise UnsupportedModelError(
            f"{folder.config}: global_pool: expected {known.pool!r}, what this model has here. "
            f"Received: global_pool={str(pool)[:50]!r}"
        )


def _input_shape(folder, fields, known):
    """(H, W, C): of the arguments, else of pretrained_cfg, else of the name."""
    stated = folder.entries.get("pretrained_cfg")
    size = (stated if isinstance(stated, dict) else folder.entries).get("input_size")
    size = size if isinstance(size, list) and len(size) == 3 else [3, *registry.image_size_of(folder.name)]
    own = Fields(folder.config, {"input_size": size[1:], "channels": size[0]}, {})
    sides = fields.sides("img_size") if fields["img_size"] is not None else own.sides("input_size")
    return (*sides, fields.whole("in_chans") if fields["in_chans"] is not None else own.whole("channels"))


# Back ----------------------------------------------------------------------------------------------------------------


def write(architecture, classes):
    """The entries of config.json but for labels and preprocessing.

    Args:
        architecture: an `Architecture`.
        classes: the classifier's number of classes; None for a model without one.

    Raises:
        UnsupportedModelError: for a family that timm does not have, and for what it cannot say.
    """
    family, config, (height, width, channels) = architecture.family, architecture.config, architecture.input_shape
    known = _arguments(family)
    if family is swin.SWIN and not swin.pads_what_it_shifts(config, height, width):
        config = dataclasses.replace(config, pad_first=False)
    name = _published(family, config)
    arguments = {} if name else _stated(family, config, known)
    if name is None:
        name = _base(family, config, known)
    if name.startswith("convnext_"):
        arguments["conv_mlp"] = False  # the layers are Linear in the file, whatever the name's own are
    arguments |= {"num_classes": classes or 0, "in_chans": channels}
    if known.sized:
        arguments["img_size"] = [height, width]
    return {
        "architecture": name,
        "num_classes": classes or 0,
        **({"global_pool": known.pool} if known.pool else {}),
        "model_args": arguments,
    }


def _published(family, config):
    """timm's name of a variant that is exactly this; None if there is none."""
    same = (v for v in VARIANTS.values() if v.family is family and v.config == config and v.alias)
    return next((v.alias for v in same if not v.alias.startswith(NOT_IN_TIMM)), None)


def _base(family, config, known):
    """The name whose arguments are changed."""
    if not known.base:
        raise UnsupportedModelError(f"timm has {family.name} as published only. Received: {config}")
    if family is pvt_v2.PVT_V2 and config.sr_ratios is None:
        return "pvt_v2_b2_li"
    if isinstance(config, dinov2.Config) and config.mlp == "swiglu":
        return "vit_giant_patch14_reg4_dinov2" if config.registers else "vit_giant_patch14_dinov2"
    return known.base


def _stated(family, config, known):
    """All of a `Config` as arguments; what has none must be as in timm's own models."""
    told = {field: argument for argument, (field, _) in known.read.items()}
    if not told:
        return {}
    own = next(v.config for v in VARIANTS.values() if v.family is family)
    arguments = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in told and value is not None:
            arguments[told[field.name]] = list(value) if isinstance(value, tuple) else value
        elif field.name not in ("sr_ratios", "mlp", "registers") and value != getattr(own, field.name):
            raise UnsupportedModelError(
                f"timm cannot say {field.name}={value!r} of this model. Supported: {getattr(own, field.name)!r}."
            )
    if "act_layer" in arguments:
        arguments["act_layer"] = WRITTEN[arguments["act_layer"]]
    if getattr(config, "mlp", "gelu") == "swiglu":  # timm counts the gates and the values, and rounds nothing
        D = config.embed_dim
        arguments["mlp_ratio"] = mlp_ratio(D, 2 * dinov2.gated_width(D, config.mlp_ratio))
    return arguments
