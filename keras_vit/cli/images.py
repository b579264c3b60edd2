"""The arguments of the verbs that go through any number of images, and what they name."""

import argparse
import os
import sys

from keras_vit.cli.arguments import require_positive
from keras_vit.images.stored import Chain, Opened, StoredImages
from keras_vit.preprocessing.reading import is_image_name
from keras_vit.system import places, remote
from keras_vit.system.data_cache import DataCache

SHARDS = ("index.json", "train.index.npz")  # which a folder of shards has
TFDS = "tfds/"  # before the name of a data set of tensorflow-datasets


def add_images(parser):
    """Add the argument of the verbs that go through any number of images."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="WHAT",
        help="image files, folders (with all below them), globs, .csv files with a column path, folders of shards that "
        "`keras-vit prepare-data` wrote, each on a disk or as s3://..., gs://..., az://... or hf://...; tfds/NAME of "
        "tensorflow-datasets; or - for a list of paths on standard input, one per line or separated by zero bytes",
    )
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="of .csv files, shards and tfds/NAME: only the images of this split, or for the last train[:10%%] and the "
        "like (default: all)",
    )
    parser.add_argument(
        "--data-dir", metavar="DIR", help="where tfds/NAME was prepared (default: ~/tensorflow_datasets)"
    )
    parser.add_argument(
        "--data-cache", metavar="DIR", help="local folder that keeps the images at URLs, for the next command"
    )
    parser.add_argument(
        "--data-cache-gb", type=float, default=50.0, metavar="GB", help="that it may take at most (default: 50)"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="images that the model takes at once (default: 32)")


def add_shard(parser, help="do the I-th of N parts, 1 <= I <= N, on this machine; `keras-vit merge` joins them"):
    """Add the option of the verbs that do a part of their work; it becomes (i, N), or None."""
    parser.add_argument("--shard", type=_shard, metavar="I/N", help=help)


def _shard(text):
    number, _, shards = text.partition("/")
    if not (number.isdecimal() and shards.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected I/N, such as 3/16 for the third of sixteen. Received: {text}")
    if not 1 <= int(number) <= int(shards) <= 99999:
        raise argparse.ArgumentTypeError(f"of I/N, I is 1 to N, and N at most 99999. Received: {text}")
    return int(number), int(shards)


def images_of(arguments, verb):
    """The images that the arguments of `add_images` name, a sequence, each a path or a `StoredImage`, in order.

    Tells how many other files are left out.

    Raises:
        ValueError: for a folder, a glob or a list without images, a split that there is not, and for a --batch-size
            below 1.
    """
    from keras_vit.images.named import counted, named_images

    require_positive(arguments, "batch_size")
    fetch = _fetch(arguments)
    parts, plain, without_splits = [], [], []
    for item in (*arguments.images, None):
        stored = item and _stored(item, arguments, fetch)
        if stored is None and item is not None:
            plain.append(item)
            without_splits.append(item)
            continue
        if plain:
            found = named_images(plain, sys.stdin.buffer)
            if found.left_out:
                print(f"keras-vit {verb}: left out {counted(found.left_out)}", file=sys.stderr)
            parts, plain = [*parts, Opened(found.images, fetch)], []
        parts += [stored] if stored else []
    if arguments.split and without_splits:
        raise ValueError(
            f"--split is for .csv files, shards and tfds/NAME, which have splits. Received also: {without_splits[0]}."
        )
    return Chain(parts)


def _fetch(arguments):
    """The function that reads what lies at a URL."""
    if arguments.data_cache is None:
        return remote.read
    return DataCache(arguments.data_cache, arguments.data_cache_gb).read


def _stored(item, arguments, fetch):
    """The images of a manifest, of shards or of a data set; None for what is none of them."""
    if item.startswith(TFDS) and not os.path.lexists(item):
        return _of_tfds(item.removeprefix(TFDS), arguments)
    if item.lower().endswith(".csv") and places.is_file(item):
        from keras_vit.images.manifest import read_paths

        return Opened(read_paths(item, arguments.split), fetch)
    if not is_image_name(item) and all(places.is_file(places.inside(item, name)) for name in SHARDS):
        return _of_shards(item, arguments.split, fetch)
    return None


def _of_tfds(name, arguments):
    from keras_vit.training.datasets import tfds

    return _as_images(tfds.images(name, arguments.data_dir, arguments.split or "all"))


def _of_shards(folder, split, fetch):
    from keras_vit.images.split_names import split_of
    from keras_vit.training.datasets import shards

    _, found = shards.load_splits(folder)
    found = {name: one.fetching(fetch) for name, one in found.items()}
    if split is None:
        return Chain([_as_images(one) for one in found.values()])
    if split_of(split) not in found:
        raise ValueError(f"{folder} has the splits {', '.join(found)}. Received: --split {split}.")
    return _as_images(found[split_of(split)])


def _as_images(split):
    return StoredImages(split.names, split.records.read)
