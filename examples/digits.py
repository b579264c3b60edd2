"""Every family from scratch on the 1,797 handwritten digits, and the gain from distillation.

    python -m examples.digits --output runs/families                     (minutes per family on two cores)
    python -m examples.digits --output runs/families --families ViT Swin --seeds 0 1 2
    python -m examples.digits --output runs/families --distillation      (DeiT with and without a teacher, five seeds)

Each model has around a million parameters; the recipe is the quickstart's, with more epochs where a family needs them.
The best epoch is chosen on 180 validation digits; the 360 test digits are used once. The same command continues where
it was stopped. `--csv FILE` writes a row per training.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from examples import tables
from examples.small_runs import QUICKSTART, train_small
from keras_vit.models import coat, convnext, deit, hybrid, pvt, pvt_v2, t2t, tnt, vit
from keras_vit.models.family import Variant

SEEDS = (0, 1, 2, 3, 4)  # of the comparison with and without a teacher
COLUMNS = {"parameters": "parameters", "epochs": "epochs", "top1": "test, %", "seconds": "seconds"}


@dataclass(frozen=True)
class Small:
    """A family's small model for the digits."""

    variant: Variant
    img_size: int = 32  # pixels, four per pixel of the scan
    epochs: int = 40


ENCODER = vit.Config(embed_dim=96, depth=6, num_heads=3, patch_size=4, mlp_ratio=2)
FAMILIES = {
    "ViT": Small(Variant("ViTDigits", vit.VIT, ENCODER)),
    "hybrid ViT": Small(
        Variant("HybridDigits", hybrid.HYBRID, hybrid.Config((2,), vit.Config(96, 4, 3, 1, mlp_ratio=2)))
    ),
    "DeiT": Small(Variant("DeiTDigits", deit.DEIT, ENCODER), epochs=60),
    "DeiT III": Small(Variant("DeiT3Digits", deit.DEIT3, ENCODER)),
    "Swin": Small(QUICKSTART.variant, epochs=25),
    "ConvNeXt": Small(Variant("ConvNeXtDigits", convnext.CONVNEXT, convnext.Config((2, 2, 2), (48, 96, 192)))),
    "TNT": Small(Variant("TNTDigits", tnt.TNT, tnt.Config(96, 6, 3, 24, 4, patch_size=8)), epochs=60),
    "CoaT-Lite": Small(
        Variant("CoaTLiteDigits", coat.COAT_LITE, coat.Config((32, 64, 96, 128), (1, 1, 1, 1), (4, 4, 2, 2))),
        img_size=64,
    ),
    "CoaT": Small(
        Variant("CoaTDigits", coat.COAT, coat.Config((32, 64, 64, 64), (1, 1, 1, 1), (4, 2, 2, 2), 2)), img_size=64
    ),
    "T2T-ViT": Small(Variant("T2TDigits", t2t.T2T, t2t.Config(96, 6, 3, 2, token_dim=32)), img_size=64),
    "PVT": Small(Variant("PVTDigits", pvt.PVT, pvt.Config((2, 2), (48, 96), (1, 3), (4, 4), (2, 1)))),
    "PVT v2": Small(Variant("PVTV2Digits", pvt_v2.PVT_V2, pvt_v2.Config((2, 2), (48, 96), (1, 3), (4, 4), (2, 1)))),
}
DISTILLED = Small(Variant("DeiTDistilledDigits", deit.DEIT_DISTILLED, ENCODER), epochs=60)


def folder_of(small, seed, output, distilled=False):
    """The run folder of a model and seed."""
    return output / f"{small.variant.snake_name}{'-taught' if distilled else ''}-{seed}"


def train_one(name, small, seed, output, **changes):
    """Train one model below `output`, or continue its run; its row of the table."""
    side, folder = small.img_size, folder_of(small, seed, output, "teacher" in changes)
    facts = train_small(small.variant, folder, img_size=(side, side), epochs=small.epochs, seed=seed, **changes)
    return {"family": name, "seed": seed, "img_size": side, **facts}


def train_families(names, seeds, output):
    """A row per family and seed."""
    return [train_one(name, FAMILIES[name], seed, output) for name in names for seed in seeds]


def train_distilled(output, seeds=SEEDS):
    """DeiT, and DeiT distilled from the Swin of the first seed, for as many epochs: a row per model and seed."""
    train_one("Swin", FAMILIES["Swin"], seeds[0], output)
    teacher = str(folder_of(FAMILIES["Swin"], seeds[0], output))
    rows = []
    for seed in seeds:
        rows.append(train_one("DeiT", FAMILIES["DeiT"], seed, output))
        rows.append(train_one("DeiT distilled", DISTILLED, seed, output, teacher=teacher, distillation="hard"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--distillation", action="store_true", help="compare DeiT with and without a teacher instead")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    if options.distillation:
        rows = train_distilled(options.output)
    else:
        rows = train_families(options.families, options.seeds, options.output)
    print(tables.markdown(rows, ("family",), COLUMNS))
    if options.csv:
        tables.write(rows, options.csv)


if __name__ == "__main__":
    main()
