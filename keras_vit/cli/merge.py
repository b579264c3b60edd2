"""`keras-vit merge`: the parts that `predict`, `embed` and `prepare-data` wrote with --shard, as one file or folder."""

import contextlib
import fnmatch
import sys
from pathlib import Path

from keras_vit.cli.arguments import verb_parser
from keras_vit.system import places, remote
from keras_vit.system.files import scratch_folder

DESCRIPTION = """\
Make one of the parts that `keras-vit predict`, `embed` or `prepare-data` wrote with --shard, the bytes of one run:

    keras-vit predict runs/photos album/ --output found.csv --shard 1/2     # on one machine
    keras-vit predict runs/photos album/ --output found.csv --shard 2/2     # on another
    keras-vit merge found.csv     # of found-00001-of-00002.csv, found-00002-of-00002.csv and their .json

Parts of `keras-vit prepare-data` are folders, shards-00001-of-00002, and so is what they become.

The parts lie beside the file or folder that they become, and stay. Parts of other models, images or settings, or that
were changed, are refused. Images that could not be read are listed, and the exit code is then 1.
"""


def parser():
    """The options of `keras-vit merge`."""
    parser = verb_parser("merge", DESCRIPTION)
    parser.add_argument("output", metavar="OUTPUT", help="the file or folder, as it was given to --output")
    return parser


def main(argv=None):
    """Write the file; 1 if images could not be read."""
    arguments = parser().parse_args(argv)
    from keras_vit.prediction.merging import merge
    from keras_vit.training.datasets.shard_parts import part_folders

    of_shards = not Path(arguments.output).suffix or part_folders(arguments.output)
    if of_shards and not places.is_remote(arguments.output):
        return _merge_shards(arguments.output)

    with _with_parts(arguments.output) as output:
        merged = merge(output)
    print(f"{merged.rows} of {merged.images} images: {arguments.output}")
    for name, reason in merged.bad:
        print(f"keras-vit merge: skipped {name}: {reason}", file=sys.stderr)
    return 1 if merged.bad else 0


def _merge_shards(output):
    from keras_vit.cli.prepare_data import contents
    from keras_vit.training.datasets import shard_parts

    print(f"{output}: {contents(shard_parts.merge(output))}")
    return 0


@contextlib.contextmanager
def _with_parts(output):
    """Yield the local path of a file to make of the parts beside it; at a URL, it is uploaded in the end."""
    if not places.is_remote(output):
        yield output
        return
    if places.is_file(output):
        raise FileExistsError(f"{output} exists already. Remove it, or move it away, to merge its parts again.")
    folder, name = places.parent(output), Path(output.rpartition("/")[2])
    with scratch_folder() as local:
        for entry in remote.scan(folder):
            if fnmatch.fnmatchcase(entry.name, f"{name.stem}-?????-of-?????{name.suffix}*"):
                remote.download(entry.path, local / entry.name)
        yield str(local / name)
        remote.upload(local / name, output)
