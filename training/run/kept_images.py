"""The test images that a run folder keeps, so that it can be moved by itself: copies, where they are small in total."""

import itertools
import os
from pathlib import Path

from keras_vit.sources.run_folder import TEST_FOLDER
from keras_vit.system import places
from keras_vit.system.files import atomic_file
from keras_vit.system.remote import UnreachableError
from keras_vit.training.datasets.splits import Split

LIMIT = 16 * 2**20  # bytes of all test images together, up to which they are copied


def keep(split, folder):
    """Copy the image files of the test split into held_out/ of a run folder, if together they are within LIMIT.

    Each copy is complete or absent. Files that cannot be read are left out; images that are no files, too.
    """
    if not split.are_files or _exceeds(split.names, LIMIT):
        return
    for name, copy in zip(split.names, _copies(split.names, folder)):
        try:
            encoded = places.read(name)
        except UnreachableError:
            raise
        except OSError:
            continue
        if not (copy.is_file() and copy.read_bytes() == encoded):
            with atomic_file(copy) as temporary:
                temporary.write_bytes(encoded)


def kept(split, folder):
    """The split with the paths of the copies, for those image files that have one."""
    if not split.are_files:
        return split
    pairs = zip(split.names, _copies(split.names, folder))
    return Split(tuple(str(copy) if copy.is_file() else name for name, copy in pairs), split.labels)


def _exceeds(names, limit):
    """Whether files are larger than this together; no more are asked than are needed."""
    sizes = (places.size(name) for name in names if places.is_file(name))
    return any(total > limit for total in itertools.accumulate(sizes))


def _copies(names, folder):
    """The path of each file's copy: below held_out/ as the files lie below the last folder that they share."""
    names = [_local(name) for name in names]
    common = os.path.commonpath([os.path.dirname(name) for name in names]) if names else ""
    return [Path(folder, TEST_FOLDER, os.path.relpath(name, common)) for name in names]


def _local(name):
    """An absolute path; of a URL the one behind its scheme."""
    return f"/{name.partition('://')[2]}" if places.is_remote(name) else os.path.abspath(name)
