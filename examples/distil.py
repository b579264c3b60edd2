"""Distil a Swin into a small T2T-ViT on the handwritten digits, and train the same T2T-ViT without a teacher.

    python -m examples.distil --output runs/distil
    python -m examples.distil --output runs/distil --seeds 0 1 2 --kind soft

The student has the structure of T2T-ViT-7 (arXiv:2101.11986, Table 2: seven narrow blocks behind a Performer's T2T
module) at a quarter of its width; the teacher is the quickstart's Swin. The loss is DeiT's (arXiv:2012.12877): half
from the labels, half from the teacher, "hard" from its predicted class (Eq. 3), "soft" from its probabilities (Eq. 2).
Any other run, .keras file, SavedModel or model with published weights can be the teacher (`keras-vit train --teacher`).

It prints a line per model: parameters, accuracy on the test digits, mean and range over the seeds. The same command
continues where it was stopped.
"""

import argparse
from pathlib import Path

from examples.small_runs import QUICKSTART, train_small
from examples.tables import markdown
from keras_vit.models import t2t
from keras_vit.models.family import Variant

STUDENT = Variant("T2T7Digits", t2t.T2T, t2t.Config(embed_dim=64, depth=7, num_heads=4, mlp_ratio=2, token_dim=16))
SIDE = 64  # pixels: 4 x 4 patches of 16
EPOCHS = 20
COLUMNS = {"parameters": "parameters", "top1": "test, %"}


def train_teacher(output, epochs=QUICKSTART.epochs):
    """Train the quickstart's Swin; its results and its folder."""
    folder = output / "teacher"
    return train_small(QUICKSTART.variant, folder, epochs=epochs), folder


def train_student(output, seed, teacher=None, kind="hard", epochs=EPOCHS):
    """Train the T2T-ViT, with a teacher or without; its results."""
    distillation = {"teacher": str(teacher), "distillation": kind} if teacher else {}
    folder = output / f"{kind if teacher else 'alone'}-{seed}"
    return train_small(STUDENT, folder, img_size=(SIDE, SIDE), epochs=epochs, seed=seed, **distillation)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--kind", choices=("hard", "soft"), default="hard")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the student")
    options = parser.parse_args()
    facts, teacher = train_teacher(options.output)
    rows = [{"model": "Swin, the teacher", "seed": QUICKSTART.seed, **facts}]
    for name, taught_by in (("T2T-ViT alone", None), (f"T2T-ViT distilled, {options.kind}", teacher)):
        for seed in options.seeds:
            facts = train_student(options.output, seed, taught_by, options.kind, options.epochs)
            rows.append({"model": name, "seed": seed, **facts})
    print(markdown(rows, ("model",), COLUMNS))


if __name__ == "__main__":
    main()
