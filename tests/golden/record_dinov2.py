"""Records what the official code of DINOv2 and transformers compute, which timm's records (record.py) are not:

    python tests/golden/record_dinov2.py official:DINOv2S transformers:DINOv2SReg4@252x308 ... --code FOLDER
    python tests/golden/record_dinov2.py toys --code FOLDER

Same environment and weights as record.py, with transformers (`pip install transformers`); FOLDER is a clone of
facebookresearch/dinov2. A classifier on the class token beside the mean of the patches is put on each model, as both do
it. At another size than 518 pixels each resamples its positions itself. `toys` writes dinov2_toys.npz: small models of
every mechanism by all three libraries, with and without registers, of 70 x 70 pixels and of another size.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["XFORMERS_DISABLED"] = "1"  # attention and SwiGLU in plain PyTorch
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.golden.record import fill, logits, timm  # noqa: E402
from tests.golden.seeded import seeded, seeded_image  # noqa: E402

import transformers  # noqa: E402 isort: skip
from safetensors.torch import load_file  # noqa: E402 isort: skip
from safetensors.numpy import save_file  # noqa: E402 isort: skip
from timm.layers import SwiGLUPacked  # noqa: E402 isort: skip
from timm.models import vision_transformer as vit  # noqa: E402 isort: skip

FOLDER = pathlib.Path(__file__).parent
NATIVE, CLASSES = 518, 1000
# public name without registers: the official one, timm's, transformers', width, depth, heads, gated
MODELS = {
    "DINOv2S": ("vits14", "small", 384, 12, 6, False),
    "DINOv2B": ("vitb14", "base", 768, 12, 12, False),
    "DINOv2L": ("vitl14", "large", 1024, 24, 16, False),
    "DINOv2G": ("vitg14", "giant", 1536, 40, 24, True),
}
TOY_SIZE, TOY_MOVED, TOY_CLASSES = 70, (98, 56), 5
TOYS = {  # name: registers, gated
    "plain": (0, False),
    "gated": (0, True),
    "registers": (3, False),
    "registers_gated": (3, True),
}


def official(width, depth, heads, gated, registers, classes, native):
    """The code of facebookresearch/dinov2: what its hub builds, with a linear head on the last block."""
    from dinov2.hub.classifiers import _LinearClassifierWrapper
    from dinov2.layers import MemEffAttention, NestedTensorBlock
    from dinov2.models.vision_transformer import DinoVisionTransformer

    backbone = DinoVisionTransformer(
        img_size=native,
        patch_size=14,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        init_values=1.0,
        block_chunks=0,
        ffn_layer="swiglufused" if gated else "mlp",
        block_fn=lambda **arguments: NestedTensorBlock(attn_class=MemEffAttention, **arguments),
        num_register_tokens=registers,
        interpolate_antialias=bool(registers),
        interpolate_offset=0.0 if registers else 0.1,
    )
    return _LinearClassifierWrapper(backbone=backbone, linear_head=torch.nn.Linear(2 * width, classes), layers=1)


def of_transformers(width, depth, heads, gated, registers, classes, native):
    """transformers' classifier of random weights."""
    name = "Dinov2WithRegisters" if registers else "Dinov2"
    config = getattr(transformers, f"{name}Config")(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        use_swiglu_ffn=gated,
        patch_size=14,
        image_size=native,
        num_labels=classes,
        **({"num_register_tokens": registers} if registers else {}),
    )
    return getattr(transformers, f"{name}ForImageClassification")(config)


def of_timm(width, depth, heads, gated, registers, classes, size):
    """timm's class, with the arguments of its named models."""
    hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8
    mlp = {"mlp_ratio": (2 * hidden + 0.5) / width, "mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
    return vit.VisionTransformer(
        img_size=size,
        patch_size=14,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        init_values=1e-5,
        num_classes=classes,
        **(mlp if gated else {}),
        **({"reg_tokens": registers, "no_embed_class": True} if registers else {}),
    )


BUILDERS = {"official": official, "transformers": of_transformers, "timm": of_timm}


class Logits(torch.nn.Module):
    """transformers' models return an object."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).logits


def filled(model):
    """(the model with synthetic weights, {name in its file: shape}), a function of the names in the file alone."""
    if not isinstance(model, transformers.PreTrainedModel):
        return model, fill(model)[0]
    with tempfile.TemporaryDirectory() as folder:  # whose modules have other names than the entries of its files
        model.save_pretrained(folder)
        path = pathlib.Path(folder) / "model.safetensors"
        keys = {key: list(tensor.shape) for key, tensor in load_file(path).items()}
        arrays = {key: seeded(key, tuple(shape)).astype("float32") for key, shape in keys.items()}
        save_file(arrays, path, metadata={"format": "pt"})
        return Logits(type(model).from_pretrained(folder)), keys


def uncounted(keys, registers, size):
    """(how many numbers this library's model lacks, why), of the two libraries that keep them."""
    width = next(shape[-1] for key, shape in keys.items() if key.endswith("mask_token"))
    lacking, reasons = width, ["mask_token"]
    if registers:
        lacking, reasons = lacking + width, [*reasons, "the class token's position, which is added to it"]
    if size != (NATIVE, NATIVE):
        patches = (NATIVE // 14) ** 2 - size[0] // 14 * (size[1] // 14)
        lacking, reasons = lacking + patches * width, [*reasons, "the positions before they are resampled"]
    return lacking, f"not counted: {'; '.join(reasons)}"


@torch.no_grad()
def record(request, commit):
    """One record of a published architecture, as (file name, dict of arrays)."""
    request, _, text = request.partition("@")
    code, _, name = request.partition(":")
    registers = 4 if name.endswith("Reg4") else 0
    own, theirs, *dims = MODELS[name.removesuffix("Reg4")]
    size = tuple(int(n) for n in text.split("x")) if text else (NATIVE, NATIVE)
    model, keys = filled(BUILDERS[code](*dims, registers, CLASSES, NATIVE))
    missing, note = uncounted(keys, registers, size)
    parameters = sum(p.numel() for p in model.parameters()) - missing
    image = seeded_image(0, *size)
    single, double = logits(model, image), logits(model.double(), image)
    names = {
        "official": f"dinov2_{own}{'_reg' if registers else ''}_lc, 1 layer",
        "transformers": f"facebook/dinov2-{'with-registers-' if registers else ''}{theirs}-imagenet1k-1-layer",
    }
    versions = {
        "official": f"facebookresearch/dinov2 {commit}",
        "transformers": f"transformers {transformers.__version__}",
    }
    meta = {
        "name": f"vit_{theirs}_patch14_{'reg4_' if registers else ''}dinov2",
        "reference_name": names[code],
        "resampled": bool(text),
        "source": versions[code],
        "image_size": list(size),
        "input_seed": 0,
        "parameters": parameters,
        "note": note,
        "float32_noise": float(np.abs(single - double).max() / double.std()),
        "keys": keys,
    }
    moved = f"+resample_at_{size[0]}x{size[1]}" if text else ""
    return f"{code}_{name}{moved}.npz", {"meta": np.array(json.dumps(meta)), "logits": double}


@torch.no_grad()
def toys():
    """Every toy by every library: the names in its file, and its logits at both sizes."""
    arrays, meta = {}, {}
    for code, build in BUILDERS.items():
        for name, (registers, gated) in TOYS.items():
            dims = (24, 2, 3, gated, registers, TOY_CLASSES)
            model, keys = filled(build(*dims, (TOY_SIZE, TOY_SIZE) if code == "timm" else TOY_SIZE))
            arrays[f"{code}/{name}"] = logits(model.double(), seeded_image(0, TOY_SIZE, TOY_SIZE))
            if code == "timm":
                native, model = model, build(*dims, TOY_MOVED)
                model.load_state_dict(vit.checkpoint_filter_fn(native.state_dict(), model))
            arrays[f"{code}/{name}/moved"] = logits(model.double(), seeded_image(0, *TOY_MOVED))
            meta[f"{code}/{name}"] = keys
    return {"keys": np.array(json.dumps(meta)), **arrays}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="toys, or official: or transformers: and a public name, @HxW")
    parser.add_argument("--code", type=pathlib.Path, required=True, help="a clone of facebookresearch/dinov2")
    parser.add_argument("--commit", help="of the code; asked of git if not given")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.code))
    ask = ["git", "-C", str(arguments.code), "rev-parse", "--short", "HEAD"]
    commit = arguments.commit or subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    for name in arguments.names:
        if name == "toys":
            path, arrays = FOLDER / "dinov2_toys.npz", toys()
        else:
            file, arrays = record(name, commit)
            path = FOLDER / "records" / file
        np.savez_compressed(path, **arrays)
        print(path, path.stat().st_size, f"timm {timm.__version__}", flush=True)


if __name__ == "__main__":
    main()
