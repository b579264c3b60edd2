"""Makes models of timm, from configurations drawn by a seed:  timm_models.py ROOT SEED [CASE ...]

It runs where torch, torchvision and timm are installed and needs nothing of this library. See `random_models.py` for
what it writes.
"""

import pathlib
import sys

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import any_torchvision  # noqa: E402, F401 isort: skip
import timm  # noqa: E402 isort: skip
from timm.data import create_transform, resolve_data_config  # noqa: E402 isort: skip
from timm.models import save_for_hf  # noqa: E402 isort: skip

from random_models import Draw, images, make_all, photo, write_record  # noqa: E402

ACTIVATIONS = ("gelu", "gelu", "gelu_tanh", "quick_gelu", "relu", "silu")


def encoder(draw, patches=(4, 8, 16)):
    heads, patch = draw.whole(1, 4), draw.one(*patches)
    sides = [patch * draw.whole(2, 5), patch * draw.whole(2, 5)]
    return {
        "img_size": sides if draw.chance(0.4) else sides[0],
        "patch_size": patch,
        "embed_dim": heads * draw.one(6, 10),
        "num_heads": heads,
        "depth": draw.whole(1, 3),
        "mlp_ratio": draw.one(2, 3.5, 4),
        "qkv_bias": draw.chance(0.7),
    }


def vit(draw):
    return encoder(draw) | {"act_layer": draw.one(*ACTIVATIONS)}


def dinov2(draw):
    return encoder(draw, (7, 14)) | {"in_chans": 3}


def swin(draw):
    stages, heads = draw.whole(2, 3), draw.whole(1, 3)
    window, patch = draw.whole(2, 5), draw.one(2, 4)
    return {
        "img_size": patch * draw.whole(2 * window, 4 * window),
        "patch_size": patch,
        "window_size": window,
        "embed_dim": heads * 8,
        "depths": [draw.whole(1, 3) for _ in range(stages)],
        "num_heads": [heads * 2**s for s in range(stages)],
        "mlp_ratio": draw.one(2.0, 4.0),
        "qkv_bias": draw.chance(0.7),
    }


def convnext(draw):
    return {
        "depths": [draw.whole(1, 2) for _ in range(4)],
        "dims": [draw.whole(6, 20) for _ in range(4)],
        "patch_size": draw.one(3, 4),
        "act_layer": draw.one(*ACTIVATIONS),
        "conv_mlp": draw.chance(),
    }


def pvt_v2(draw):
    heads = [draw.whole(1, 3) for _ in range(4)]
    return {
        "depths": [draw.whole(1, 2) for _ in range(4)],
        "embed_dims": [8 * number for number in heads],
        "num_heads": heads,
        "mlp_ratios": [draw.whole(1, 4) for _ in range(4)],
        "sr_ratios": [4, 2, draw.one(1, 2), 1],
        "qkv_bias": draw.chance(0.7),
    }


CASES = {  # timm's architecture: its arguments
    "vit_tiny_patch16_224": vit,
    "deit_tiny_patch16_224": vit,
    "deit_small_distilled_patch16_224": vit,
    "deit3_small_patch16_224": vit,
    "swin_tiny_patch4_window7_224": swin,
    "convnext_tiny": convnext,
    "convnext_atto": convnext,
    "pvt_v2_b0": pvt_v2,
    "pvt_v2_b2_li": pvt_v2,
    "vit_small_patch14_dinov2": dinov2,
    "vit_small_patch14_reg4_dinov2": dinov2,
}
SIZED = ("vit", "deit", "swin")


def make(root, seed, name):
    """Draw, build, save and record one case."""
    draw, folder = Draw(seed, name), pathlib.Path(root) / name / "model"
    arguments, labels = CASES[name](draw), list(draw.labels().values())
    model = timm.create_model(name, num_classes=len(labels), **arguments).eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(draw.array(path, tuple(parameter.shape))))
    size = arguments.get("img_size", 96)
    height, width = (size, size) if isinstance(size, int) else size
    model.pretrained_cfg = dict(model.pretrained_cfg) | {
        "input_size": (3, height, width),
        "crop_pct": draw.one(0.875, 0.9, 0.95, 1.0),
        "crop_mode": draw.one("center", "squash"),
        "interpolation": draw.one("bicubic", "bilinear"),
        "mean": tuple(round(float(x), 3) for x in draw.random.uniform(0.3, 0.6, 3)),
        "std": tuple(round(float(x), 3) for x in draw.random.uniform(0.2, 0.5, 3)),
    }
    folder.mkdir(parents=True)
    safe = draw.chance()
    save_for_hf(model, folder, model_config={"label_names": labels}, model_args=arguments, safe_serialization=safe)
    shape = (2, height, width, 3)
    tensor = torch.from_numpy(images(shape).transpose(0, 3, 1, 2))
    with torch.no_grad():
        rounded, made = model(tensor).double().numpy(), model.double()(tensor.double()).numpy()
    transform = create_transform(**resolve_data_config(model.pretrained_cfg), is_training=False)
    size = [draw.whole(30, 300), draw.whole(30, 300)]
    pixels = transform(Image.fromarray(photo(*size))).numpy().transpose(1, 2, 0)
    arrays = {"outputs": made, "pixels": pixels.astype("float32")}
    error = float(np.abs(rounded - made).max() / made.std())
    entries = {"library": f"timm {timm.__version__}", "output": "logits", "labels": labels, "float32_error": error}
    entries |= {"container": "safetensors" if safe else "bin", "shape": shape, "photo": size}
    write_record(root, name, arrays, entries)


if __name__ == "__main__":
    make_all(make, CASES)
