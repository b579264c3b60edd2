"""Records what timm computes:  python tests/golden/record.py vit_tiny_patch16_224 convnext_tiny@256x320 ...

Runs in an environment of its own with timm 1.0.31 and torch (CONTRIBUTING.md); the library and its tests need neither.
A name may carry the size of the input; `name@HxW+resample` fills the weights at the native size and lets timm's own
loader move them to HxW. Each record goes to tests/golden/records/, or to --output.
"""

import argparse
import json
import pathlib
import sys
from unittest import mock

import numpy as np
import torch

torch.library.register_fake = lambda *args, **kwargs: lambda function: function  # torchvision's, for another torch
import timm  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.golden.seeded import seeded, seeded_image  # noqa: E402

# Models whose class timm has, though not the name.
UNNAMED = {
    "tnt_ti_patch16_224": (
        "tnt_s_patch16_224",
        {"embed_dim": 192, "inner_dim": 12, "num_heads_outer": 3, "num_heads_inner": 2},
    )
}
SIZELESS = ("convnext", "pvt_v2")  # take images of any size, and no argument for it
CLASSES = 1000  # timm's names without a classifier get one


def shared_names(model):
    """name -> first name, for entries that are one tensor in the model."""
    first, aliases = {}, {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        owner = first.setdefault(id(tensor), key)
        if owner != key:
            aliases[key] = owner
    return aliases


def fill(model):
    """Synthetic values of all float entries of a state dict but those that the architecture determines."""
    state, aliases = model.state_dict(), shared_names(model)
    fixed = [k for k, v in state.items() if not v.is_floating_point() or k.endswith("attn_mask")]
    for key, tensor in state.items():
        if key not in fixed:
            tensor.copy_(torch.from_numpy(np.asarray(seeded(aliases.get(key, key), tuple(tensor.shape)))))
    return {key: list(tensor.shape) for key, tensor in state.items()}, fixed, aliases


@torch.no_grad()
def logits(model, image):
    """In evaluation mode, NHWC in, (K,) float64 out."""
    x = torch.from_numpy(image).permute(0, 3, 1, 2).to(next(model.parameters()).dtype)
    return model.eval()(x).double().numpy()[0]


def build(name, size=None):
    """A timm model whose parameters are yet to be filled: drawing them would take longer than all the rest."""
    name, arguments = UNNAMED.get(name, (name, {}))
    if size is not None and not name.startswith(SIZELESS):
        arguments = {**arguments, "img_size": size}
    with mock.patch.multiple(torch.Tensor, normal_=_leave, uniform_=_leave, erfinv_=_leave):
        return timm.create_model(name, num_classes=CLASSES, **arguments)


def _leave(tensor, *args, **kwargs):
    return tensor


def record(request):
    """One record, as a dict of arrays."""
    request, _, resample = request.partition("+")
    name, _, text = request.partition("@")
    size = tuple(int(n) for n in text.split("x")) if text else None
    model = build(name, None if resample else size)
    size = size or tuple(model.pretrained_cfg["input_size"][1:])
    keys, fixed, aliases = fill(model)
    if resample:
        model = _moved(name, size, model, fixed)
    image, parameters = seeded_image(0, *size), sum(p.numel() for p in model.parameters())
    single = logits(model, image)
    double = logits(model.double(), image)
    meta = {
        "name": name,
        "resampled": bool(resample),
        "source": f"timm {timm.__version__}",
        "image_size": list(size),
        "input_seed": 0,
        "parameters": parameters,
        "float32_noise": float(np.abs(single - double).max() / double.std()),
        "aliases": aliases,
        "keys": keys,
        "integer_or_mask": fixed,
    }
    return {"meta": np.array(json.dumps(meta)), "logits": double}


def _moved(name, size, native, fixed):
    """The native weights in a model of another size, through timm's own checkpoint filter."""
    model = build(name, size)
    moved = sys.modules[type(model).__module__].checkpoint_filter_fn(native.state_dict(), model)
    left = model.load_state_dict({key: value for key, value in moved.items() if key not in fixed}, strict=False)
    if left.unexpected_keys or not set(left.missing_keys) <= set(fixed):
        raise ValueError(f"{name}: timm's loader left parameters as they were: {left}")
    return model


def file_name(request):
    """vit_tiny_patch16_224@160x192+resample -> vit_tiny_patch16_224+resample_at_160x192.npz"""
    stem, _, resample = request.partition("+")
    return stem.replace("@", f"{'+resample' if resample else ''}_at_") + ".npz"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).parent / "records")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for request in arguments.names:
        path = arguments.output / file_name(request)
        np.savez_compressed(path, **record(request))
        print(path, flush=True)


if __name__ == "__main__":
    main()
