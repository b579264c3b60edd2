"""config.json of timm as a family's `Config`, and back: names, arguments, and what is refused by name."""

import dataclasses
import json

import pytest

from keras_vit.models import VARIANTS, convnext, deit, dinov2, hybrid, pvt, pvt_v2, swin, timm_config, vit
from keras_vit.models.config_fields import Architecture, UnsupportedModelError
from keras_vit.sources.library_folder import open_folder


def read(folder, architecture, arguments=None, **entries):
    """The `Architecture` of a config.json of timm."""
    content = {"architecture": architecture, "num_classes": 5, "model_args": arguments or {}, **entries}
    (folder / "config.json").write_text(json.dumps(content))
    return timm_config.read(open_folder(folder))


@pytest.mark.parametrize(
    "name", ["ViTB16", "DeiTTiDistilled", "SwinB384", "ConvNeXtAtto", "PVTV2B2Li", "TNTS", "CoaTMini"]
)
def test_a_name_alone_is_its_variant(tmp_path, name):
    made = read(tmp_path, VARIANTS[name].alias, pretrained_cfg={"input_size": [3, 384, 384]})
    assert made == Architecture(VARIANTS[name].family, VARIANTS[name].config, (384, 384, 3))
    assert read(tmp_path, "vit_base_patch16_384").input_shape == (384, 384, 3)


def test_arguments_change_the_variant(tmp_path):
    sizes = {"embed_dim": 30, "depth": 2, "num_heads": 3, "patch_size": 8, "mlp_ratio": 3.5, "qkv_bias": False}
    sizes |= {"img_size": [40, 48], "in_chans": 1, "act_layer": "gelu_tanh", "drop_path_rate": 0.1, "num_classes": 5}
    made = read(tmp_path, "vit_tiny_patch16_224", sizes | {"class_token": True, "init_values": None})
    expected = vit.Config(30, 2, 3, 8, 3.5, qkv_bias=False, activation="gelu_tanh")
    assert made == Architecture(vit.VIT, expected, (40, 48, 1))
    made = read(tmp_path, "deit3_small_patch16_224", {"depth": 1, "init_values": 1e-5, "img_size": 64})
    assert made == Architecture(deit.DEIT3, vit.Config(384, 1, 6, 16), (64, 64, 3))
    made = read(tmp_path, "vit_small_patch14_reg4_dinov2", {"reg_tokens": 2, "depth": 1, "img_size": 70})
    assert made == Architecture(dinov2.DINOV2_REGISTERS, dinov2.Config(384, 1, 6, registers=2), (70, 70, 3))
    made = read(tmp_path, "pvt_v2_b0", {"linear": True, "sr_ratios": [8, 4, 2, 1]})
    assert made.config == dataclasses.replace(pvt_v2.PVTV2B0.config, sr_ratios=None)
    made = read(tmp_path, "convnext_atto", {"conv_mlp": True, "patch_size": 3, "ls_init_value": 0.1})
    assert made.config == dataclasses.replace(convnext.ConvNeXtAtto.config, patch_size=3)


@pytest.mark.parametrize(
    "name, arguments, word",
    [
        ("vit_base_patch16_clip_224", {}, "Closest: "),
        ("resnet50", {}, "No model is called 'resnet50'"),
        ("vit_tiny_patch16_224", {"global_pool": "avg"}, "global_pool: expected 'token'"),
        ("vit_tiny_patch16_224", {"class_token": False}, "class_token=False"),
        ("vit_tiny_patch16_224", {"init_values": 1e-5}, "init_values"),
        ("vit_tiny_patch16_224", {"norm_layer": "rmsnorm"}, "norm_layer='rmsnorm'"),
        ("vit_tiny_patch16_224", {"num_heads": 5}, "num_heads=.*192"),
        ("vit_tiny_patch16_224", {"img_size": 100}, "image_size"),
        ("vit_tiny_patch16_224", {"act_layer": "hard_swish"}, "act_layer"),
        ("swin_tiny_patch4_window7_224", {"depths": [1, 1]}, "one value per stage"),
        ("swin_tiny_patch4_window7_224", {"always_partition": True}, "always_partition=True"),
        ("convnext_tiny", {"patch_size": 2}, "patch_size"),
        ("convnext_tiny", {"kernel_sizes": 5}, "kernel_sizes=5"),
        ("convnext_tiny", {"use_grn": True}, "use_grn=True"),
        ("tnt_s_patch16_224", {"embed_dim": 8}, "no argument of this name for TNTS"),
        ("vit_tiny_patch16_224", 7, "model_args"),
    ],
)
def test_what_is_not_here_names_the_argument_and_the_file(tmp_path, name, arguments, word):
    with pytest.raises(UnsupportedModelError if arguments != 7 else ValueError, match=f"config.json.*{word}"):
        read(tmp_path, name, arguments)


CONFIGS = [
    (vit.VIT, vit.Config(30, 2, 3, 8, 3.5, qkv_bias=False, activation="relu"), (40, 48, 1)),
    (deit.DEIT_DISTILLED, vit.Config(24, 1, 3, 8), (40, 40, 3)),
    (deit.DEIT3, vit.Config(24, 1, 3, 8), (40, 40, 3)),
    (swin.SWIN, swin.Config(12, (1, 2), (3, 2), 5, 2, 3.0, qkv_bias=False), (44, 44, 3)),
    (convnext.CONVNEXT, convnext.Config((1, 2, 1, 1), (5, 6, 7, 8), 3, activation="silu"), (224, 224, 3)),
    (pvt_v2.PVT_V2, pvt_v2.Config((1, 2, 1, 1), (8, 12, 8, 8), (2, 3, 2, 2), (3, 2, 2, 2), None), (224, 224, 3)),
    (pvt_v2.PVT_V2, pvt_v2.Config((1, 2, 1, 1), (8, 12, 8, 8), (2, 3, 2, 2), (3, 2, 2, 2)), (224, 224, 3)),
    (dinov2.DINOV2, dinov2.Config(24, 2, 3, 7, "swiglu"), (28, 28, 3)),
    (dinov2.DINOV2_REGISTERS, dinov2.Config(24, 2, 3, 7, registers=3), (28, 28, 3)),
    *((VARIANTS[name].family, VARIANTS[name].config, (224, 224, 3)) for name in ("ViTS16", "TNTS", "ViTR26S32")),
]


@pytest.mark.parametrize("family, config, shape", CONFIGS, ids=[f"{c[0].name}{i}" for i, c in enumerate(CONFIGS)])
def test_what_is_written_is_read_as_the_same(tmp_path, family, config, shape):
    entries = timm_config.write(Architecture(family, config, shape), 5)
    entries |= {"pretrained_cfg": {"input_size": [shape[2], *shape[:2]]}}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    again = timm_config.read(open_folder(tmp_path))
    assert again == Architecture(family, config, shape) or again.config == dataclasses.replace(config)


def test_a_published_model_is_its_name():
    entries = timm_config.write(Architecture(swin.SWIN, swin.SwinT.config, (224, 224, 3)), None)
    assert entries["architecture"] == "swin_tiny_patch4_window7_224" and entries["num_classes"] == 0
    assert set(entries["model_args"]) == {"num_classes", "in_chans", "img_size"}


@pytest.mark.parametrize(
    "family, config, word",
    [
        (pvt.PVT, pvt.PVTTiny.config, "timm has PVT as published only"),
        (hybrid.HYBRID, hybrid.Config((1,), vit.Config(24, 1, 3, 1)), "as published only"),
        (vit.VIT, vit.Config(24, 1, 3, 8, epsilon=1e-12), "epsilon=1e-12"),
        (vit.VIT, vit.Config(24, 1, 3, 8, pool="gap"), "pool='gap'"),
        (convnext.CONVNEXT, dataclasses.replace(convnext.ConvNeXtT.config, layer_scale=False), "layer_scale=False"),
        (swin.SWIN, swin.Config(12, (1, 2), (3, 2), 5, 2, pad_first=True), "pad_first=True"),
    ],
)
def test_what_timm_cannot_say_is_named(family, config, word):
    with pytest.raises(UnsupportedModelError, match=word):
        timm_config.write(Architecture(family, config, (48, 48, 3)), 5)
