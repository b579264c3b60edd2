"""A family's `Config` as config.json of transformers; `transformers_config.py` is the way there."""

import logging
import math

from keras_vit.models import convnext, deit, dinov2, pvt, pvt_v2, swin, vit
from keras_vit.models.config_fields import UnsupportedModelError
from keras_vit.models.transformers_config import ACTIVATIONS, CLASSES, TEACHER

log = logging.getLogger("keras_vit")
WRITTEN = {own: name for name, own in reversed(ACTIVATIONS.items())}
UNKNOWN_THERE = ("selu", "elu")  # of this library, which the newest transformers does not know


def write(architecture, classes):
    """The entries of config.json but for the labels.

    Args:
        architecture: an `Architecture`.
        classes: the classifier's number of classes; None for a model without one.

    Raises:
        UnsupportedModelError: for a family that transformers does not have, and for what it cannot say.
    """
    family, config, (height, width, channels) = architecture.family, architecture.config, architecture.input_shape
    writer = next((function for known, function in WRITERS if known is family), None)
    if writer is None:
        names = ", ".join(dict.fromkeys(known.name for known, _ in WRITERS))
        raise UnsupportedModelError(f"transformers has no model of {family.name}. It has: {names}. timm may have it.")
    model_type, entries = writer(config)
    name = CLASSES[model_type][classes is not None]
    if family is deit.DEIT_DISTILLED:
        name = TEACHER if classes is not None else name
    activation = getattr(config, "activation", "gelu")
    if activation in UNKNOWN_THERE:
        raise _cannot("activation", activation, WRITTEN)
    size = height if height == width else [height, width]
    if model_type.startswith(("pvt", "dinov2")) and model_type != "pvt_v2" and height != width:  # of its positions
        raise _cannot("image_size", size, ["square images"])
    if family is swin.SWIN:
        _require_windows(config, (height, width))
    if getattr(config, "pool", "token") == "token" and classes is not None and model_type.startswith("dinov2"):
        raise _cannot("pool", "token", ["a classifier of the class token beside the mean patch ('token_and_mean')"])
    return {
        "architectures": [name],
        "model_type": model_type,
        "image_size": size,
        "num_channels": channels,
        "hidden_act": WRITTEN[activation],
        **entries,
        "dtype": "float32",
    }


def _require_windows(config, size):
    """Raise for maps smaller than the window, which shrinks here, and where transformers would not shift."""
    if swin.pads_what_it_shifts(config, *size) and not config.pad_first:
        raise _cannot("image_size", list(size), ["sizes of which no shifted map is padded to whole windows"])
    grid = [side // config.patch_size for side in size]
    for _ in config.depths:
        if min(grid) < config.window_size:
            raise _cannot("window_size", config.window_size, [f"at most {min(grid)}, the side of the smallest map"])
        if config.window_size in grid and grid[0] != grid[1]:
            raise _cannot("image_size", list(size), ["square images, where a window is as large as a map"])
        grid = [-(-side // 2) for side in grid]


def _cannot(name, value, supported):
    return UnsupportedModelError(
        f"transformers cannot say {name}={value!r} of this model. Supported: {', '.join(map(str, supported))}."
    )


def _whole(name, value):
    """A number that transformers wants whole."""
    if value != int(value):
        raise _cannot(name, value, ["whole numbers"])
    return int(value)


def _write_vit(config, model_type="vit"):
    for name, supported in (("pool", "token"), ("positions", "learned_1d"), ("pre_logits", False)):
        if getattr(config, name) != supported:
            raise _cannot(name, getattr(config, name), [supported])
    return model_type, {
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": int(config.mlp_ratio * config.embed_dim),
        "patch_size": config.patch_size,
        "qkv_bias": config.qkv_bias,
        "layer_norm_eps": config.epsilon,
    }


def _write_deit(config):
    return _write_vit(config, "deit")


def _write_swin(config):
    return "swin", {
        "embed_dim": config.embed_dim,
        "depths": list(config.depths),
        "num_heads": list(config.num_heads),
        "window_size": config.window_size,
        "patch_size": config.patch_size,
        "mlp_ratio": config.mlp_ratio,
        "qkv_bias": config.qkv_bias,
        "layer_norm_eps": config.epsilon,
    }


def _write_convnext(config):
    return "convnext", {
        "depths": list(config.depths),
        "hidden_sizes": list(config.dims),
        "num_stages": len(config.depths),
        "patch_size": config.patch_size,
        "layer_scale_init_value": 1e-6 if config.layer_scale else 0.0,
        "layer_norm_eps": config.epsilon,
    }


def _write_pyramid(config):
    """What PVT and PVT v2 share."""
    if not math.isclose(config.epsilon, config.patch_epsilon):
        log.warning(
            "transformers has one epsilon for all norms of a pyramid: those after patches and reductions get %g, and "
            "have %g here. Logits differ in the sixth digit.",
            config.epsilon,
            config.patch_epsilon,
        )
    return {
        "depths": list(config.depths),
        "num_encoder_blocks": len(config.depths),
        "hidden_sizes": list(config.embed_dims),
        "num_attention_heads": list(config.num_heads),
        "mlp_ratios": [_whole("mlp_ratios", ratio) for ratio in config.mlp_ratios],
        "qkv_bias": config.qkv_bias,
        "layer_norm_eps": config.epsilon,
    }


def _write_pvt(config):
    sizes = [config.patch_size] + [2] * (len(config.depths) - 1)
    own = {"patch_sizes": sizes, "strides": sizes, "sequence_reduction_ratios": list(config.sr_ratios)}
    return "pvt", _write_pyramid(config) | own


def _write_pvt_v2(config):
    stages, linear = len(config.depths), config.sr_ratios is None
    own = {"patch_sizes": list(config.patch_sizes[:stages]), "strides": list(config.strides[:stages])}
    own |= {"linear_attention": linear, "sr_ratios": [1] * stages if linear else list(config.sr_ratios)}
    return "pvt_v2", _write_pyramid(config) | own


def _write_dinov2(config):
    registers = {"num_register_tokens": config.registers} if config.registers else {}
    return "dinov2_with_registers" if registers else "dinov2", {
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "mlp_ratio": _whole("mlp_ratio", config.mlp_ratio),
        "patch_size": config.patch_size,
        "use_swiglu_ffn": config.mlp == "swiglu",
        "qkv_bias": config.qkv_bias,
        "layer_norm_eps": config.epsilon,
        **registers,
    }


WRITERS = (  # families cannot be keys
    (vit.VIT, _write_vit),
    (deit.DEIT, _write_vit),  # without a second token, transformers calls it a ViT
    (deit.DEIT_DISTILLED, _write_deit),
    (deit.DEIT_ONE_HEAD, _write_deit),
    (swin.SWIN, _write_swin),
    (convnext.CONVNEXT, _write_convnext),
    (pvt.PVT, _write_pvt),
    (pvt_v2.PVT_V2, _write_pvt_v2),
    (dinov2.DINOV2, _write_dinov2),
    (dinov2.DINOV2_REGISTERS, _write_dinov2),
)
