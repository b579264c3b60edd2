"""model.keras of a run: the same model is the same file, though Keras notes in it when it was saved.

The line of a run in results.csv is found by the file's sha256, and a run that is killed saves its model once more when
it is resumed.
"""

import re
import shutil
import zipfile

from keras_vit.system.files import atomic_file, scratch_folder, temporaries_in
from keras_vit.system.limits import MAX_ARCHITECTURE

DATED, ARCHITECTURE = "metadata.json", "config.json"
SHARED = re.compile(rb'"shared_object_id": (\d+)')  # of objects that layers share: their address in memory
CHUNK = 2**20  # bytes compared at once


def write(model, path):
    """Save a model as a `.keras` file; one that holds the same model stays, byte by byte."""
    with atomic_file(path) as temporary, scratch_folder() as folder:
        with temporaries_in(folder):
            model.save(temporary)
        if same(path, temporary):
            shutil.copyfile(path, temporary)


def same(path, other):
    """Whether a file, which may be missing or damaged, holds the model of another: but for the dates, all of it."""
    try:
        with zipfile.ZipFile(path) as one, zipfile.ZipFile(other) as two:
            names = set(two.namelist()) - {DATED}
            return names == set(one.namelist()) - {DATED} and all(_same_member(one, two, name) for name in names)
    except Exception:  # of a dozen kinds for damaged files: then it is another
        return False


def _same_member(one, two, name):
    if name == ARCHITECTURE:
        return _architecture(one) == _architecture(two)
    with one.open(name) as first, two.open(name) as second:
        while chunk := first.read(CHUNK):
            if chunk != second.read(CHUNK):
                return False
        return not second.read(1)


def _architecture(archive):
    """The text of config.json, with the addresses of shared objects numbered as they appear."""
    with archive.open(ARCHITECTURE) as file:
        text = file.read(MAX_ARCHITECTURE)
    numbers = {}
    return SHARED.sub(lambda found: b"shared %d" % numbers.setdefault(found[1], len(numbers)), text)
