"""Fashion-MNIST as class folders: as it is, with classes thinned out, or two images side by side with both labels.

    apt install dataset-fashion-mnist            (or the four .gz files of github.com/zalandoresearch/fashion-mnist)
    python -m examples.fashion_mnist --output data/fashion --train 10000
    python -m examples.fashion_mnist --output data/uneven --train 10000 --rarest 0.01
    python -m examples.fashion_mnist --output data/pairs --train 10000 --pairs

Grey images of 28 x 28 pixels in ten classes: 60,000 to train on, 10,000 to test (Xiao, Rasul, Vollgraf,
arXiv:1708.07747). What is taken of them follows from the arguments alone: the first images of every class, as they are
in the files, and pairs drawn with a fixed seed.
"""

import argparse
import csv
import gzip
from pathlib import Path

import numpy as np

from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.system.files import atomic_folder
from keras_vit.training import recipe

SOURCE = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
PREFIXES = {"train": "train", "test": "t10k"}  # of the files of a split
SEED = 0  # of the pairs
PAIRS_IN_TEST = 5000
# What the other examples train on these images: a small ViT, from scratch.
SMALL = Variant("ViTFashion", vit.VIT, vit.Config(embed_dim=64, depth=4, num_heads=4, patch_size=4, mlp_ratio=2))
RECIPE = recipe.Recipe(
    model=SMALL.name,
    variant=SMALL,
    dataset="folder",
    img_size=(28, 28),
    epochs=20,
    batch_size=64,
    lr=2e-3,
    warmup_epochs=2,
    weight_decay=0.05,
    smoothing=0.1,
    shift=0.08,
    hflip=0.5,
    fill="black",
    xla=False,
)


def read(source, split):
    """Images uint8 (N, 28, 28) and labels uint8 (N,) of "train" or "test".

    Raises:
        FileNotFoundError: naming the package that has the files.
        ValueError: for a file of another form.
    """
    images = _read_idx(Path(source) / f"{PREFIXES[split]}-images-idx3-ubyte.gz")
    return images, _read_idx(Path(source) / f"{PREFIXES[split]}-labels-idx1-ubyte.gz")


def _read_idx(path):
    """An array in the IDX format: 0, 0, 8 for bytes, the number of axes, their lengths, then the values."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. Install dataset-fashion-mnist, or give --source.")
    content = gzip.decompress(path.read_bytes())
    start = 4 + 4 * content[3] if content[:3] == b"\0\0\x08" else len(content) + 1
    shape = np.frombuffer(content[4:start], ">i4") if start <= len(content) else ()
    if len(content) != start + np.prod(shape, dtype=int):
        raise ValueError(f"{path} is no IDX file of bytes.")
    return np.frombuffer(content, "uint8", offset=start).reshape(shape)


def first_of_each(labels, counts):
    """Indices of the first images of every class, ascending; counts[k] of class k, or all if there are fewer."""
    return np.sort(np.concatenate([np.flatnonzero(labels == k)[:count] for k, count in enumerate(counts)]))


def thinned(largest, rarest):
    """Images per class, falling geometrically from `largest` in class 0 to `rarest` times that in the last."""
    return [round(largest * rarest ** (k / (len(CLASSES) - 1))) for k in range(len(CLASSES))]


def write_folders(source, folder, train, rarest=1.0):
    """Write FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png.

    Args:
        train: images to train on, over all classes; of the test images all are written.
        rarest: what the last class has of the images of the first.
    """
    with atomic_folder(Path(folder)) as temporary:
        for split, counts in (("train", thinned(train // len(CLASSES), rarest)), ("test", [10**6] * len(CLASSES))):
            images, labels = read(source, split)
            for index in first_of_each(labels, counts):
                _write_png(temporary / split / CLASSES[labels[index]] / f"{index:05}.png", images[index])


def write_pairs(source, folder, train):
    """Write images of two garments side by side, 28 x 56 pixels, and pairs.csv, a manifest with both labels of each.

    Args:
        train: pairs to train on, each of two images of the training split; PAIRS_IN_TEST are of the test split.
    """
    generator = np.random.default_rng(SEED)
    with atomic_folder(Path(folder)) as temporary:
        with (temporary / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("path", "label", "split"))
            for split, count in (("train", train), ("test", PAIRS_IN_TEST)):
                images, labels = read(source, split)
                for number, (left, right) in enumerate(generator.choice(len(images), (count, 2))):
                    path = f"{split}/{number:05}.png"
                    _write_png(temporary / path, np.concatenate([images[left], images[right]], 1))
                    names = dict.fromkeys((CLASSES[labels[left]], CLASSES[labels[right]]))
                    writer.writerow((path, "|".join(names), split))


def _write_png(path, image):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE, help="folder of the four files")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--train", type=int, default=10_000, help="images, or pairs, to train on")
    parser.add_argument("--rarest", type=float, default=1.0, help="images of the last class, as a share of the first's")
    parser.add_argument("--pairs", action="store_true", help="two images side by side, with both labels")
    options = parser.parse_args()
    if options.pairs:
        write_pairs(options.source, options.output, options.train)
    else:
        write_folders(options.source, options.output, options.train, options.rarest)


if __name__ == "__main__":
    main()
