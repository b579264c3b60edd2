"""config.json of transformers as a family's `Config`: what is taken, and what is refused by name."""

import dataclasses
import json

import pytest

from keras_vit.models import convnext, deit, dinov2, pvt, pvt_v2, swin, transformers_config, vit
from keras_vit.models.config_fields import UnsupportedModelError
from keras_vit.sources.library_folder import open_folder


def read(folder, name, **entries):
    """The `Architecture` of a config.json with these entries, the rest left out."""
    (folder / "config.json").write_text(json.dumps({"architectures": [name], **entries}))
    return transformers_config.read(open_folder(folder))


ENCODER = {"hidden_size": 30, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 49}
ENCODER |= {"patch_size": 8, "image_size": [40, 48], "num_channels": 1, "hidden_act": "gelu_new", "qkv_bias": False}
PLAIN = vit.Config(30, 2, 3, 8, 49 / 30, epsilon=1e-5, qkv_bias=False, activation="gelu_tanh")


def test_a_plain_encoder_with_every_field(tmp_path):
    made = read(tmp_path, "ViTForImageClassification", model_type="vit", layer_norm_eps=1e-5, **ENCODER)
    assert made.family is vit.VIT and made.input_shape == (40, 48, 1)
    assert int(made.config.mlp_ratio * 30) == 49
    assert dataclasses.replace(made.config, mlp_ratio=PLAIN.mlp_ratio) == PLAIN


@pytest.mark.parametrize(
    "name, model_type, family",
    [
        ("ViTModel", "vit", vit.VIT),
        ("ViTMAEForPreTraining", "vit_mae", vit.VIT),
        ("DeiTForImageClassification", "deit", deit.DEIT_ONE_HEAD),
        ("DeiTModel", "deit", deit.DEIT_ONE_HEAD),
        ("DeiTForImageClassificationWithTeacher", "deit", deit.DEIT_DISTILLED),
        ("DeiTForImageClassificationWithTeacher", None, deit.DEIT_DISTILLED),
        ("SwinModel", "swin", swin.SWIN),
        ("ConvNextModel", "convnext", convnext.CONVNEXT),
        ("PvtModel", "pvt", pvt.PVT),
        ("PvtV2Model", "pvt_v2", pvt_v2.PVT_V2),
        ("Dinov2Model", "dinov2", dinov2.DINOV2),
        ("Dinov2WithRegistersModel", "dinov2_with_registers", dinov2.DINOV2_REGISTERS),
        ("Dinov2WithRegistersModel", None, dinov2.DINOV2_REGISTERS),
    ],
)
def test_what_is_left_out_is_the_published_model(tmp_path, name, model_type, family):
    made = read(tmp_path, name, **({"model_type": model_type} if model_type else {}))
    assert made.family is family and made.input_shape == (224, 224, 3)
    same = {"DeiT": vit.Config(768, 12, 12, 16, epsilon=1e-12), "Swin": swin.SwinT.config}
    same |= {"ConvNeXt": dataclasses.replace(convnext.ConvNeXtT.config, epsilon=1e-12)}
    same |= {"PVT": dataclasses.replace(pvt.PVTTiny.config, patch_epsilon=1e-6)}
    same |= {"PVT v2": dataclasses.replace(pvt_v2.PVTV2B0.config, patch_epsilon=1e-6, mlp_ratios=(8, 8, 4, 4))}
    if family.name in same:
        assert made.config == same[family.name]


def test_a_swin_and_a_convnext_of_other_sizes(tmp_path):
    sizes = {"embed_dim": 12, "depths": [1, 3, 1], "num_heads": [2, 3, 4], "window_size": 5, "patch_size": 2}
    made = read(tmp_path, "SwinModel", model_type="swin", image_size=41 * 2, mlp_ratio=3.5, hidden_act="relu", **sizes)
    assert made.config == swin.Config(12, (1, 3, 1), (2, 3, 4), 5, 2, 3.5, activation="relu", pad_first=True)
    sizes = {"hidden_sizes": [5, 9], "depths": [2, 1], "patch_size": 3, "layer_scale_init_value": 0, "num_stages": 2}
    made = read(tmp_path, "ConvNextModel", model_type="convnext", layer_norm_eps=1e-6, **sizes)
    assert made.config == convnext.Config((2, 1), (5, 9), 3, layer_scale=False)


def test_pyramids_of_other_sizes(tmp_path):
    sizes = {"depths": [1, 2], "hidden_sizes": [8, 12], "num_attention_heads": [2, 3], "mlp_ratios": [3, 2]}
    sizes |= {"num_encoder_blocks": 2, "patch_sizes": [4, 2], "strides": [4, 2], "qkv_bias": False}
    made = read(tmp_path, "PvtModel", model_type="pvt", sequence_reduction_ratios=[2, 1], image_size=32, **sizes)
    shared = {"epsilon": 1e-6, "patch_epsilon": 1e-6, "qkv_bias": False}
    assert made.config == pvt.Config((1, 2), (8, 12), (2, 3), (3, 2), (2, 1), 4, **shared)
    sizes |= {"patch_sizes": [5, 3], "strides": [2, 2], "image_size": {"height": 40, "width": 36}}
    made = read(tmp_path, "PvtV2Model", model_type="pvt_v2", sr_ratios=[2, 1], linear_attention=True, **sizes)
    assert made.config == pvt_v2.Config((1, 2), (8, 12), (2, 3), (3, 2), None, (5, 3), (2, 2), **shared)
    assert made.input_shape == (40, 36, 3)


def test_dinov2s_classifier_registers_and_gates(tmp_path):
    sizes = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 1, "mlp_ratio": 3, "image_size": 70}
    made = read(tmp_path, "Dinov2ForImageClassification", model_type="dinov2", use_swiglu_ffn=True, **sizes)
    assert made.config == dinov2.Config(24, 1, 3, mlp="swiglu", pool="token_and_mean", mlp_ratio=3)
    made = read(
        tmp_path, "Dinov2WithRegistersModel", model_type="dinov2_with_registers", num_register_tokens=2, **sizes
    )
    assert made.config == dinov2.Config(24, 1, 3, registers=2, mlp_ratio=3)


@pytest.mark.parametrize(
    "name, model_type, closest",
    [
        ("Swinv2ForImageClassification", "swinv2", "swin"),
        ("ConvNextV2ForImageClassification", "convnextv2", "convnext"),
        ("ViTMSNModel", "vit_msn", "vit"),
        ("BeitForImageClassification", "beit", "deit"),
        ("BertModel", "bert", "Supported: vit, "),
        ("LlamaForCausalLM", None, "none"),
    ],
)
def test_a_model_that_is_not_here_names_the_closest(tmp_path, name, model_type, closest):
    with pytest.raises(UnsupportedModelError, match=f"config.json: {name} .*Closest: .*{closest}"):
        read(tmp_path, name, **({"model_type": model_type} if model_type else {}))


@pytest.mark.parametrize(
    "model_type, entries, word",
    [
        ("vit", {"hidden_size": 30, "num_attention_heads": 4}, "num_attention_heads=4"),
        ("vit", {"hidden_size": -1}, "hidden_size=-1"),
        ("vit", {"hidden_size": "768"}, "hidden_size='768'"),
        ("vit", {"hidden_size": 10**8}, "hidden_size"),
        ("vit", {"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ("vit", {"patch_size": [16, 8]}, "patch_size"),
        ("vit", {"image_size": 100}, "image_size.*multiples of 16"),
        ("vit", {"image_size": 10**6}, "image_size"),
        ("vit", {"hidden_act": "hardswish"}, "hidden_act='hardswish'"),
        ("vit", {"layer_norm_eps": 0}, "layer_norm_eps"),
        ("vit", {"qkv_bias": "no"}, "qkv_bias"),
        ("swin", {"use_absolute_embeddings": True}, "use_absolute_embeddings=True"),
        ("swin", {"num_heads": [3, 6, 12]}, "num_heads"),
        ("swin", {"num_heads": [3, 6, 12, 25]}, "num_heads"),
        ("swin", {"image_size": [224, 448]}, "image_size.*square"),
        ("swin", {"depths": []}, "depths"),
        ("convnext", {"num_stages": 3}, "num_stages=3"),
        ("convnext", {"hidden_sizes": [8, 8]}, "hidden_sizes"),
        ("convnext", {"image_size": 16}, "image_size"),
        ("pvt", {"patch_sizes": [4, 2, 2, 1]}, "patch_sizes"),
        ("pvt", {"strides": [4, 2, 2, 1]}, "strides"),
        ("pvt", {"sequence_reduction_ratios": [8, 4, 2, 2]}, "sequence_reduction_ratios"),
        ("pvt", {"num_encoder_blocks": 3}, "num_encoder_blocks"),
        ("pvt_v2", {"mlp_ratios": [1, 2]}, "mlp_ratios"),
        ("dinov2", {"hidden_act": "relu"}, "hidden_act='relu'"),
        ("dinov2_with_registers", {"num_register_tokens": -1}, "num_register_tokens=-1"),
    ],
)
def test_what_a_family_does_not_have_names_the_field_and_the_file(tmp_path, model_type, entries, word):
    with pytest.raises(UnsupportedModelError, match=f"config.json.*{word}"):
        read(tmp_path, transformers_config.CLASSES[model_type][0], model_type=model_type, **entries)
