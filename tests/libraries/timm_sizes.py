"""Makes models of timm and runs them on images of many sizes, drawn by a seed:  timm_sizes.py ROOT SEED [CASE ...]

It runs where torch, torchvision and timm are installed and needs nothing of this library. Each case is

    ROOT/CASE/model/        the folder as timm saves it
    ROOT/CASE/record.npz    output{i} of images of the i-th size, in float64; features{i}, what `forward_intermediates`
                            gives for those of one size, (B, H, W, C), and tokens{i}, (B, n, C); patched, the output of
                            the model with patches of another size
    ROOT/CASE/record.json   sizes, the errors of float32, the depths, and which options stand for what timm did

which `tests/libraries/sizes.py` reads with keras_vit. Where timm has no rule for sides that are no multiples of the
patch, the image is padded with zeros before it.
"""

import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import any_torchvision  # noqa: E402, F401 isort: skip
import timm  # noqa: E402 isort: skip
from timm.layers import patch_embed  # noqa: E402 isort: skip
from timm.models import save_for_hf  # noqa: E402 isort: skip
from timm.models import swin_transformer  # noqa: E402 isort: skip

from random_models import Draw, images, make_all, write_record  # noqa: E402
from timm_models import convnext, dinov2, encoder, pvt_v2, swin  # noqa: E402

patch_embed.DTYPE_INTERMEDIATE = torch.float64  # of the resize of a patch's kernel, which timm makes in float32
DYNAMIC = {"dynamic_img_size": True, "dynamic_img_pad": True}


def tokens(draw):
    """A ViT whose images have a known native size."""
    return encoder(draw) | {"img_size": [8 * draw.whole(4, 7), 8 * draw.whole(4, 7)], "patch_size": 8}


def windows(draw):
    """A Swin none of whose maps is smaller than a window: timm fixes windows and shifts once, for one size."""
    arguments = swin(draw)
    stages, window, patch = len(arguments["depths"]), arguments["window_size"], arguments["patch_size"]
    return arguments | {"img_size": patch * 2 ** (stages - 1) * (2 * window + 1), "depths": [2] * stages}


def nothing(draw):
    """As published."""
    return {}


# timm's architecture: (its arguments, what makes it take all sizes or None if it must be built for each)
CASES = {
    "vit_tiny_patch16_224": (tokens, DYNAMIC),
    "deit_tiny_patch16_224": (tokens, DYNAMIC),
    "deit_small_distilled_patch16_224": (tokens, DYNAMIC),
    "deit3_small_patch16_224": (tokens, DYNAMIC),
    "vit_small_patch14_dinov2": (dinov2, DYNAMIC),
    "vit_small_patch14_reg4_dinov2": (dinov2, DYNAMIC),
    "swin_tiny_patch4_window7_224": (windows, {"strict_img_size": False}),
    "swin_small_patch4_window7_224": (windows, {"strict_img_size": False}),  # as its detection code pads
    "convnext_atto": (convnext, {}),
    "pvt_v2_b0": (pvt_v2, {}),
    "pvt_v2_b2_li": (pvt_v2, {}),
    "vit_tiny_r_s16_p8_224": (nothing, DYNAMIC),
    "vit_small_r26_s32_224": (nothing, DYNAMIC),
    "coat_tiny": (nothing, None),
    "coat_lite_tiny": (nothing, None),
    "tnt_s_patch16_224": (nothing, None),
}
DETECTION = "swin_small_patch4_window7_224"
HYBRIDS = ("vit_tiny_r", "vit_small_r")  # whose `forward_intermediates` miscounts patches at sides of no multiples
STRIDES = {"coat": 32, "tnt": 16, "convnext": 1, "pvt": 1, "vit_tiny_r": 32, "vit_small_r": 1}


class DetectionBlock(swin_transformer.SwinTransformerBlock):
    """Swin's block as its code for detection has it: the map is padded first and shifted then."""

    def _attn(self, x):
        (H, W), (M, L), (down, right) = x.shape[1:3], self.window_size, self.shift_size
        x = F.pad(x, (0, 0, 0, -W % L, 0, -H % M))
        padded = x.shape[1:3]
        x = torch.roll(x, (-down, -right), (1, 2))
        cut = swin_transformer.window_partition(x, self.window_size).view(-1, M * L, x.shape[-1])
        attended = self.attn(cut, mask=self.get_attn_mask(x)).view(-1, M, L, x.shape[-1])
        x = torch.roll(swin_transformer.window_reverse(attended, self.window_size, *padded), (down, right), (1, 2))
        return x[:, :H, :W].contiguous()


def multiple_of(name, arguments):
    """What timm needs sides to be multiples of, or what this library does where timm has no such models."""
    given = next((stride for start, stride in STRIDES.items() if name.startswith(start)), None)
    return given or arguments.get("patch_size", 16)


def draw_sizes(draw, name, arguments, native):
    """The native size, multiples of the patch (tall, wide, large), and sides that are none."""
    multiple = multiple_of(name, arguments)
    least, most = max(native) if "swin" in name else 33, 1.7 * max(native)
    most = max(most, least + 3 * multiple)

    def side():
        return int(draw.random.integers(least, most + 1))

    aligned = [[side() // multiple * multiple + multiple, side() // multiple * multiple + multiple] for _ in range(3)]
    return [list(native), *aligned, *([side(), side()] for _ in range(3))]


class Reference:
    """A timm model that is asked for images of any size."""

    def __init__(self, name, arguments, options, folder):
        self.name, self.arguments, self.options, self.folder = name, arguments, options, folder
        self.multiple = multiple_of(name, arguments)

    def model(self, size, dtype):
        """The model that takes images of this size: the same one, or one that is built for them and loads the file."""
        extra = self.options if self.options is not None else {"img_size": size}
        weights = next(path for path in self.folder.iterdir() if path.suffix != ".json")
        overlay = {"file": str(weights), "num_classes": self.arguments["num_classes"]}
        model = timm.create_model(
            self.name, pretrained=True, pretrained_cfg_overlay=overlay, **{**self.arguments, **extra}
        )
        if self.name == DETECTION:
            for module in model.modules():
                if isinstance(module, swin_transformer.SwinTransformerBlock):
                    module.__class__ = DetectionBlock
        return model.eval().to(dtype)

    def run(self, function, size, dtype):
        """function(model, images of this size), padded where timm does not pad them."""
        pixels = torch.from_numpy(images((2, *size, 3)).transpose(0, 3, 1, 2)).to(dtype)
        if "dynamic_img_pad" not in (self.options or {}):
            pixels = F.pad(pixels, (0, -size[1] % self.multiple, 0, -size[0] % self.multiple))
        with torch.no_grad():
            return function(self.model(list(pixels.shape[2:]), dtype), pixels)


def intermediates(model, pixels):
    """What `forward_intermediates` gives, without and with the last norm: {name: array}."""
    found = {}
    for norm in (False, True):
        options = {"norm": norm, "intermediates_only": True}
        if getattr(model, "num_prefix_tokens", 0) and hasattr(model, "get_intermediate_layers"):
            made = model.forward_intermediates(pixels, return_prefix_tokens=True, **options)
            found |= {f"tokens{i}{'_norm' * norm}": tokens.numpy() for i, (_, tokens) in enumerate(made)}
            made = [maps for maps, _ in made]
        else:
            made = model.forward_intermediates(pixels, **options)
        found |= {f"features{i}{'_norm' * norm}": maps.numpy().transpose(0, 2, 3, 1) for i, maps in enumerate(made)}
    return found


def other_patches(draw, reference, native):
    """The output of the model with patches of another size, of as many as before: (array, what stands for it)."""
    patch = draw.one(5, 12, 16)
    sides = [side // reference.multiple * patch for side in native]
    size = [side + patch * draw.whole(0, 2) for side in sides]
    changed = {**reference.arguments, "patch_size": patch, "img_size": sides}
    other = Reference(reference.name, changed, reference.options, reference.folder)
    made, rounded = (other.run(lambda m, pixels: m(pixels).numpy(), size, d) for d in (torch.float64, torch.float32))
    error = float(np.abs(made - rounded).max() / made.std())
    return made, {"patch_size": patch, "native": sides, "size": size, "float32_error": error}


def make(root, seed, name):
    """Draw, build, save, run and record one case."""
    (drawn, options), draw = CASES[name], Draw(seed, f"sizes {name}")
    folder, arguments = pathlib.Path(root) / name / "model", drawn(draw)
    labels = [str(k) for k in range(draw.whole(2, 9))]
    arguments["num_classes"] = len(labels)
    model = timm.create_model(name, **arguments).eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(draw.array(path, tuple(parameter.shape))))
    side = arguments.get("img_size", 96 if drawn in (convnext, pvt_v2) else 224)
    native = [side, side] if isinstance(side, int) else side
    model.pretrained_cfg = dict(model.pretrained_cfg) | {"input_size": (3, *native)}
    folder.mkdir(parents=True)
    written = {key: value for key, value in arguments.items() if key != "num_classes"}
    safe = not name.startswith("coat_")  # safetensors takes no tensor twice, and CoaT's blocks share theirs
    save_for_hf(model, folder, model_config={"label_names": labels}, model_args=written, safe_serialization=safe)
    reference, sizes = Reference(name, arguments, options, folder), draw_sizes(draw, name, arguments, native)
    made = [reference.run(lambda model, pixels: model(pixels).numpy(), size, torch.float64) for size in sizes]
    rounded = [reference.run(lambda model, pixels: model(pixels).numpy(), size, torch.float32) for size in sizes]
    errors = [float(np.abs(a - b).max() / a.std()) for a, b in zip(made, rounded)]
    arrays = {f"output{i}": output for i, output in enumerate(made)}
    looked_at = 0 if name.startswith(HYBRIDS) else 1
    features, less = (reference.run(intermediates, sizes[looked_at], d) for d in (torch.float64, torch.float32))
    arrays |= features
    entries = {"library": f"timm {timm.__version__}", "sizes": sizes, "native": native, "float32_errors": errors}
    errors = {key: float(np.abs(made - less[key]).max() / made.std()) for key, made in features.items()}
    entries["feature_errors"] = errors
    pads = reference.multiple > 1 or options == DYNAMIC
    entries |= {"multiple": reference.multiple, "pads": pads, "pad_first": name == DETECTION, "looked_at": looked_at}
    if "patch_size" in arguments and not name.startswith("convnext"):
        arrays["patched"], entries["patched"] = other_patches(draw, reference, native)
    write_record(root, name, arrays, entries)


if __name__ == "__main__":
    make_all(make, CASES)
