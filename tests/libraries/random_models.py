"""Random configurations and weights for models of other libraries, and what is recorded of them; imports no library.

The scripts beside this file run in environments of the other libraries, where keras_vit is not installed, as
`python tests/libraries/<script>.py`. Each writes cases,

    ROOT/CASE/model/        the folder as the library saves it
    ROOT/CASE/record.npz    outputs, what the model makes of `images(shape)`, in float64; pixels, what the library's
                            image processor makes of `photo(*size)`, (H, W, 3)
    ROOT/CASE/record.json   what these are: {"output": "logits", "shape": [2, 96, 96, 3], "photo": [120, 90], ...}

which `tests/libraries/reading.py` reads with keras_vit.
"""

import json
import pathlib
import sys

import numpy as np

WORDS = ("tabby cat", "tench, Tinca tinca", "Österreich", "0", "a/b", "drake", "n01440764", "日本", "x = 1", "sloth")
ACTIVATIONS = ("gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "mish", "tanh")


class Draw:
    """Random choices that follow from a seed."""

    def __init__(self, seed, case):
        self.random = np.random.default_rng([seed, *case.encode()])

    def whole(self, low, high):
        """From low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def one(self, *choices):
        return choices[self.whole(0, len(choices) - 1)]

    def chance(self, share=0.5):
        return bool(self.random.random() < share)

    def labels(self):
        """{class: name}, of two to nine classes."""
        names = self.random.permutation(WORDS)[: self.whole(2, 9)]
        return {k: str(name) for k, name in enumerate(names)}

    def array(self, name, shape):
        """Weights with which every part of a network matters: norms near 1, kernels that keep the variance."""
        noise = self.random.standard_normal(shape)
        if len(shape) < 2:
            near_one = ("norm" in name or "downsampl" in name or name.endswith(("gamma", "lambda1"))) and (
                not name.endswith("bias")
            )
            return 1 + 0.3 * noise if near_one else 0.3 * noise
        if name.endswith(("token", "tokens", "position_embeddings", "pos_embed", "bias_table")):
            return 0.5 * noise
        return 1.2 * noise / np.sqrt(np.prod(shape[1:]))


def images(shape):
    """Normalised images that need not be stored: float32 (B, H, W, C)."""
    return np.random.default_rng(21).standard_normal(tuple(shape)).astype("float32")


def photo(height, width):
    """An image with edges, gradients and noise that need not be stored: uint8 (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.abs((x * (5 + k) + y * (9 - 2 * k)) % 480 - 240) for k in range(3)
    ]  # whole numbers, everywhere the same
    image = np.stack(waves, -1) + np.random.default_rng(22).integers(-15, 16, (height, width, 3))
    image[height // 3 : height // 2, width // 4 : width // 2] = (250, 5, 120)
    return image.clip(0, 255).astype("uint8")


def make_all(make, cases):
    """The command line of the scripts, ROOT SEED [CASE ...]: make(ROOT, seed, case) for those cases, or for all."""
    root, seed, *chosen = sys.argv[1:]
    for case in chosen or cases:
        make(root, int(seed), case)
        print(f"{case}: made", flush=True)


def write_record(root, case, arrays, entries):
    """Write what is known of a case beside its folder."""
    folder = pathlib.Path(root) / case
    np.savez_compressed(folder / "record.npz", **arrays)
    (folder / "record.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False), encoding="utf-8")
