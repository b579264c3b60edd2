"""A family's `Config` as config.json of transformers, and read again."""

import json
import logging

import pytest

from keras_vit.models import (
    coat,
    convnext,
    deit,
    dinov2,
    pvt,
    pvt_v2,
    swin,
    transformers_config,
    transformers_writer,
    vit,
)
from keras_vit.models.config_fields import Architecture, UnsupportedModelError
from keras_vit.sources.library_folder import open_folder

SAME = {"epsilon": 1e-5, "patch_epsilon": 1e-5}
ARCHITECTURES = [
    Architecture(vit.VIT, vit.Config(30, 2, 3, 8, 49.5 / 30, epsilon=1e-3, qkv_bias=False), (40, 48, 1)),
    Architecture(deit.DEIT_DISTILLED, vit.Config(24, 1, 3, 8, activation="gelu_tanh"), (40, 40, 3)),
    Architecture(deit.DEIT_ONE_HEAD, vit.Config(24, 1, 3, 8, activation="mish"), (40, 40, 3)),
    Architecture(swin.SWIN, swin.Config(12, (1, 2), (3, 2), 5, 2, 3.0, 1e-3, False, "silu"), (40, 40, 3)),
    Architecture(convnext.CONVNEXT, convnext.Config((1, 2, 1), (5, 6, 7), 3, False, 1e-3, "relu"), (50, 60, 3)),
    Architecture(pvt.PVT, pvt.Config((1, 2), (8, 12), (2, 3), (3, 2), (2, 1), 8, **SAME), (64, 64, 3)),
    Architecture(
        pvt_v2.PVT_V2, pvt_v2.Config((1, 2), (8, 12), (2, 3), (3, 2), None, (5, 3), (2, 2), **SAME), (50, 60, 3)
    ),
    Architecture(dinov2.DINOV2, dinov2.Config(24, 2, 3, 7, "swiglu", pool="token_and_mean"), (28, 28, 3)),
    Architecture(dinov2.DINOV2_REGISTERS, dinov2.Config(24, 2, 3, 7, registers=3, pool="token_and_mean"), (28, 28, 3)),
]
IDS = [f"{a.family.name}{i}" for i, a in enumerate(ARCHITECTURES)]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=IDS)
def test_what_is_written_is_read_as_the_same(architecture, tmp_path):
    entries = transformers_writer.write(architecture, 5)
    (tmp_path / "config.json").write_text(json.dumps(entries | {"id2label": {str(k): str(k) for k in range(5)}}))
    again = transformers_config.read(open_folder(tmp_path))
    ratio = getattr(again.config, "mlp_ratio", None)
    assert (again.family, again.input_shape) == (architecture.family, architecture.input_shape)
    assert [v for v in vars(again.config).values() if v != ratio] == [
        v for v in vars(architecture.config).values() if v != getattr(architecture.config, "mlp_ratio", None)
    ]
    if ratio:
        assert int(ratio * again.config.embed_dim) == int(architecture.config.mlp_ratio * again.config.embed_dim)


def test_a_deit_without_a_second_token_is_a_vit_there():
    entries = transformers_writer.write(Architecture(deit.DEIT, vit.Config(24, 1, 3, 8), (40, 40, 3)), None)
    assert (entries["model_type"], entries["architectures"]) == ("vit", ["ViTModel"])


@pytest.mark.parametrize(
    "family, config, shape, word",
    [
        (coat.COAT, None, (64, 64, 3), "no model of CoaT. It has: ViT, .*timm"),
        (vit.VIT, vit.Config(24, 1, 3, 8, pool="gap"), (40, 40, 3), "pool='gap'"),
        (vit.VIT, vit.Config(24, 1, 3, 8, positions="none"), (40, 40, 3), "positions='none'"),
        (vit.VIT, vit.Config(24, 1, 3, 8, pre_logits=True), (40, 40, 3), "pre_logits=True"),
        (vit.VIT, vit.Config(24, 1, 3, 8, activation="selu"), (40, 40, 3), "activation='selu'"),
        (swin.SWIN, swin.Config(12, (1, 1), (3, 3), 5), (32, 32, 3), "window_size=5.*at most 4"),
        (swin.SWIN, swin.Config(12, (1, 1), (3, 3), 4), (32, 64, 3), "image_size"),
        (pvt.PVT, pvt.Config((1, 1), (8, 8), (1, 1), (2, 2), (1, 1)), (32, 64, 3), "image_size"),
        (pvt_v2.PVT_V2, pvt_v2.Config((1, 1), (8, 8), (1, 1), (2.5, 2), (1, 1)), (32, 64, 3), "mlp_ratios=2.5"),
        (dinov2.DINOV2, dinov2.Config(24, 1, 3), (28, 28, 3), "pool='token'"),
    ],
)
def test_what_transformers_cannot_say_is_named(family, config, shape, word):
    with pytest.raises(UnsupportedModelError, match=word):
        transformers_writer.write(Architecture(family, config, shape), 5)


def test_the_epsilons_of_a_pyramid_become_one_which_is_said(caplog):
    with caplog.at_level(logging.WARNING, "keras_vit"):
        entries = transformers_writer.write(Architecture(pvt.PVT, pvt.PVTTiny.config, (224, 224, 3)), 5)
    assert entries["layer_norm_eps"] == 1e-6 and "1e-05" in caplog.text
