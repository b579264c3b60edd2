"""Loads folders that keras_vit wrote, as timm and transformers load any other, strictly:  loading.py ROOT

Runs in the libraries' environment, without keras_vit, between the two steps of `writing.py`. Writes
ROOT/CASE/LIBRARY.npz: of each photograph the pixels that the library's own transform makes of it (H, W, 3) and the
logits in float64, and the largest difference of float32 from these, in their standard deviation. Of timm's models also
ROOT/CASE/timm/gradients: a folder as timm's own, with the gradient of a logit in the place of every weight.
"""

import pathlib
import shutil
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import any_torchvision  # noqa: E402, F401 isort: skip
import timm  # noqa: E402 isort: skip
import transformers  # noqa: E402 isort: skip


def of_timm(folder):
    """(a model, its transform of an image)."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return model.eval(), timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)


def of_transformers(folder):
    """The same; raises for entries that are missing or not expected."""
    model, found = transformers.AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    wrong = {kind: names for kind, names in found.items() if names}
    if wrong:
        raise ValueError(f"{folder}: {wrong}")
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    return model.eval(), lambda image: processor(image, return_tensors="pt")["pixel_values"][0]


def outputs(model, pixels, kind):
    """Logits of prepared pixels (C, H, W) in a number format."""
    with torch.no_grad():
        made = model.to(kind)(pixels[None].to(kind))
    return getattr(made, "logits", made)[0].double().numpy()


def gradients(model, pixels, kind):
    """{name of a parameter: gradient of the second logit}, float64, of prepared pixels in a number format."""
    model.to(kind).zero_grad()
    model(pixels[None].to(kind))[0, 1].backward()
    named = model.named_parameters(remove_duplicate=False)  # CoaT's blocks share their encodings
    return {name: torch.zeros_like(p).double() if p.grad is None else p.grad.double().clone() for name, p in named}


def write_gradients(model, pixels, folder):
    """Write them in the form of a model's folder; returns the error of float32, relative to their norms."""
    double, single = (gradients(model, pixels, kind) for kind in (torch.float64, torch.float32))
    (folder / "gradients").mkdir()
    shutil.copy(folder / "config.json", folder / "gradients")
    buffers = {name: one.clone() for name, one in model.state_dict().items() if name not in double}
    kept = {name: one.float().contiguous() for name, one in double.items()}
    save_file({**buffers, **kept}, folder / "gradients" / "model.safetensors")
    least = 1e-3 * max(one.norm() for one in double.values())  # where a gradient is zero but for rounding
    return max(float((single[name] - one).norm() / max(one.norm(), least)) for name, one in double.items())


def main(root):
    """Load all folders; whether none failed."""
    failed = 0
    for path in sorted(pathlib.Path(root).glob("*/*/config.json")):
        folder, library = path.parent, path.parent.name
        photos, record = np.load(folder.parent / "photos.npz"), {}
        try:
            model, transform = {"timm": of_timm, "transformers": of_transformers}[library](folder)
            single, double = [], []
            for name in photos:
                pixels = transform(Image.fromarray(photos[name])).float()
                single.append(outputs(model, pixels, torch.float32))
                double.append(outputs(model, pixels, torch.float64))
                record |= {f"{name}_pixels": pixels.permute(1, 2, 0).numpy(), f"{name}_logits": double[-1]}
            if library == "timm":
                record["gradient_error"] = write_gradients(model, pixels, folder)  # of the last, "exact"
            record["float32_error"] = np.abs(np.subtract(single, double)).max() / np.std(double)
            np.savez(folder.parent / f"{library}.npz", **record)
            print(f"{folder}: loaded", flush=True)
        except Exception as error:
            failed += 1
            print(f"{folder}: {type(error).__name__}: {error}   <-- FAILED", flush=True)
    return not failed


if __name__ == "__main__":
    print(f"torch {torch.__version__}, timm {timm.__version__}, transformers {transformers.__version__}")
    sys.exit(not main(sys.argv[1]))
