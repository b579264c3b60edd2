"""Records the gradients of toy models of timm's classes:  python tests/golden/record_gradients.py [vit swin ...]

Same environment, weights and input as record.py. The loss is the mean cross-entropy of two images in evaluation mode,
everything in float64; `logits` and `grad/<key>` are kept in float32. tests/models/test_gradients.py builds the same
toys of ours. T2T-ViT's files were made alike with its own code, which no package has.
"""

import argparse
import functools
import json
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.golden.record import fill, timm  # noqa: E402
from tests.golden.seeded import seeded_image  # noqa: E402

from timm.layers import GroupNormAct, StdConv2dSame, SwiGLUPacked  # noqa: E402 isort: skip
from timm.models import coat, convnext, deit, pvt_v2, resnetv2, swin_transformer, tnt  # noqa: E402 isort: skip
from timm.models import vision_transformer as vit  # noqa: E402 isort: skip
from timm.models import vision_transformer_hybrid as hybrid  # noqa: E402 isort: skip

CLASSES, LABELS = 5, [1, 3]
ENCODER = {"embed_dim": 24, "depth": 2, "num_heads": 3}
COAT = {"patch_size": 4, "crpe_window": {3: 1, 5: 2, 7: 2}, "num_heads": 5}
PVT = {"depths": (1, 2), "embed_dims": (12, 18), "num_heads": (1, 3), "mlp_ratios": (2, 3)}
TNT = {"patch_size": 8, "num_heads_outer": 3, "num_heads_inner": 2, "inner_dim": 6, "embed_dim": 24, "depth": 2}


def hybrid_vit(img_size, stem, groups, **arguments):
    """timm's own builder of the ResNet has no argument for its width."""
    backbone = resnetv2.ResNetV2(
        (1, 2),
        channels=(4 * stem, 8 * stem),
        num_classes=0,
        global_pool="",
        preact=False,
        stem_chs=stem,
        stem_type="same",
        conv_layer=functools.partial(StdConv2dSame, eps=1e-8),
        norm_layer=functools.partial(GroupNormAct, num_groups=groups),
    )
    embed = functools.partial(hybrid.HybridEmbed, backbone=backbone)
    return vit.VisionTransformer(img_size=img_size, patch_size=1, embed_layer=embed, **arguments)


# name: (class, arguments, image size, whether the class takes that size as an argument)
TOYS = {
    "vit": (vit.VisionTransformer, {"patch_size": 8, **ENCODER}, (40, 48), True),
    "hybrid": (hybrid_vit, {"stem": 8, "groups": 4, "embed_dim": 12, "depth": 1, "num_heads": 3}, (40, 48), True),
    "deit_distilled": (deit.VisionTransformerDistilled, {"patch_size": 8, **ENCODER}, (40, 48), True),
    "deit3": (
        vit.VisionTransformer,
        {"patch_size": 8, "no_embed_class": True, "init_values": 1e-6, **ENCODER},
        (40, 48),
        True,
    ),
    "dinov2_registers": (
        vit.VisionTransformer,
        {
            **{"patch_size": 8, "no_embed_class": True, "init_values": 1e-5, "reg_tokens": 3, "mlp_ratio": 5.34},
            **{"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, **ENCODER},
        },
        (40, 48),
        True,
    ),
    "swin": (
        swin_transformer.SwinTransformer,
        {"embed_dim": 12, "depths": (2, 2), "num_heads": (3, 6), "window_size": 3},
        (48, 60),
        True,
    ),
    "convnext": (convnext.ConvNeXt, {"depths": (1, 1, 2, 1), "dims": (4, 8, 12, 16)}, (64, 96), False),
    "tnt": (tnt.TNT, TNT, (40, 48), True),
    "tnt_legacy": (tnt.TNT, {**TNT, "legacy": True}, (40, 48), True),
    "coat": (
        coat.CoaT,
        {
            **COAT,
            "embed_dims": (10, 15, 15, 15),
            "serial_depths": (1, 1, 1, 1),
            "mlp_ratios": (2, 3, 3, 3),
            "parallel_depth": 2,
        },
        (64, 96),
        True,
    ),
    "coat_lite": (
        coat.CoaT,
        {**COAT, "embed_dims": (10, 15, 15, 20), "serial_depths": (1, 1, 1, 2), "mlp_ratios": (2, 2, 1, 1)},
        (64, 96),
        True,
    ),
    "pvt_v2": (pvt_v2.PyramidVisionTransformerV2, {**PVT, "sr_ratios": (2, 1)}, (36, 45), False),
    "pvt_v2_linear": (pvt_v2.PyramidVisionTransformerV2, {**PVT, "linear": True}, (36, 45), False),
}


def record(name):
    """One record, as a dict of arrays."""
    build, arguments, size, sized = TOYS[name]
    model = build(num_classes=CLASSES, **arguments, **({"img_size": size} if sized else {})).eval()
    with torch.no_grad():
        keys, fixed, aliases = fill(model)
    model = model.double()
    images = torch.from_numpy(seeded_image(0, *size, count=len(LABELS))).permute(0, 3, 1, 2).double()
    logits = model(images)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS))
    loss.backward()
    gradients = {f"grad/{key}": p.grad.numpy().astype("float32") for key, p in model.named_parameters()}
    meta = {
        "source": f"timm {timm.__version__}",
        "config": {
            key: value if isinstance(value, (int, float, tuple)) else str(value) for key, value in arguments.items()
        },
        "image_size": size,
        "input_seed": 0,
        "batch": len(LABELS),
        "labels": LABELS,
        "loss": loss.item(),
        "aliases": aliases,
        "keys": keys,
        "integer_or_mask": fixed,
        "no_gradient": [key for key in keys if f"grad/{aliases.get(key, key)}" not in gradients],
    }
    return {"meta": np.array(json.dumps(meta)), "logits": logits.detach().numpy().astype("float32"), **gradients}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TOYS)}; all if not given")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).parent / "gradients")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or TOYS:
        path = arguments.output / f"{name}.npz"
        np.savez_compressed(path, **record(name))
        print(path, path.stat().st_size, flush=True)


if __name__ == "__main__":
    main()
