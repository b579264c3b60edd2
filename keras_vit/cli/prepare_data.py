"""`keras-vit prepare-data`: a data set as a folder of TFRecord shards."""

import sys

from keras_vit.cli.arguments import verb_parser
from keras_vit.cli.images import add_shard
from keras_vit.system import places, startup
from keras_vit.system.uploads import folder_output

DESCRIPTION = """\
Write the images of a data set, their bytes as they are, into TFRecord files with an index: few large files instead of
many small ones, which network disks and object stores read faster, and which can be copied and checked. The folder is
written whole or not at all; the same source gives the same bytes. Train from it by

    keras-vit train --dataset records --data-dir DIR ...

With --shard 3/16 only the third of sixteen parts is written, DIR-00003-of-00016, on one of several machines that see
the same SOURCE; interrupted, the same command goes on. `keras-vit merge DIR` makes DIR of all parts beside it, with the
bytes of one run.

Images are not decoded here: `keras-vit check-data` finds those that cannot be.
"""


def parser():
    """The options of `keras-vit prepare-data`."""
    parser = verb_parser("prepare-data", DESCRIPTION)
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of class folders, or of train/, val/ and test/ (or Training/, valid/, test_set/, ...) with "
        "class folders; a manifest, FILE.csv; tfds/NAME; or digits",
    )
    parser.add_argument("--output", metavar="DIR", required=True, help="folder to write; must not exist yet")
    parser.add_argument("--shards", type=int, default=16, metavar="N", help="files of the training split (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the division, if SOURCE is not split (default: 0)")
    parser.add_argument("--data-dir", metavar="DIR", help="where tensorflow-datasets prepared tfds/NAME")
    parser.add_argument("--train-split", default="train", metavar="SPLIT", help="of tfds/NAME (default: train)")
    parser.add_argument("--val-split", default="validation", metavar="SPLIT", help="of tfds/NAME (default: validation)")
    parser.add_argument("--target-key", metavar="KEY", help="feature of tfds/NAME with the classes, if several can be")
    add_shard(parser)
    return parser


def main(argv=None):
    """Write the shards and print what they hold."""
    arguments = parser().parse_args(argv)

    if arguments.shard and places.is_remote(arguments.output):
        raise ValueError(f"--shard writes into a local folder. Received: {arguments.output}.")

    startup.start_tensorflow()
    from keras_vit.training.datasets import shard_parts, shards

    data_set, root = _load(arguments)
    for name, text in data_set.notes.items():
        print(f"{name}: {text}")
    done = 0

    def progress(images):
        nonlocal done
        done += images
        if sys.stderr.isatty():
            print(f"\r{done:,} images", end="", file=sys.stderr)

    if arguments.shard:
        written = shard_parts.write_part(data_set, arguments.output, arguments.shards, arguments.shard, root, progress)
    else:
        with folder_output(arguments.output, new=True) as output:
            index = shards.write(data_set, output, arguments.shards, root, progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if arguments.shard:
        there = f", {written.earlier} of them from before" if written.earlier else ""
        print(f"{written.folder}: {written.images:,} images in {written.files} shards{there}")
    else:
        print(f"{arguments.output}: {contents(index)}")
    return 0


def _load(arguments):
    """The data set of SOURCE, and the folder that its files are named relative to."""
    from keras_vit.training.datasets import digits, folders, manifest, tfds

    source = arguments.source
    if places.is_folder(source):
        return folders.load(source, arguments.seed), places.absolute(source)
    if places.is_file(source):
        return manifest.load(source, arguments.seed), places.parent(places.absolute(source))
    if arguments.source == "digits":
        return digits.load(), None
    if arguments.source.startswith("tfds/"):
        name = arguments.source.removeprefix("tfds/")
        chosen = arguments.train_split, arguments.val_split, arguments.target_key
        return tfds.load(name, arguments.data_dir, *chosen), None
    raise ValueError(f"SOURCE is a folder, a CSV file, tfds/NAME or digits. There is no {arguments.source!r}.")


def contents(index):
    """What a folder of shards holds, in words, from its index.json."""
    parts = index["parts"].values()
    counts = ", ".join(f"{part['pictures']:,} {name}" for name, part in index["parts"].items())
    shards = [shard for part in parts for shard in part["shards"]]
    size = sum(shard["bytes"] for shard in shards)
    return f"{counts} images of {len(index['classes'])} classes in {len(shards)} shards, {size / 1e6:,.1f} MB"
