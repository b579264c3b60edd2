"""The images that a command line names: files, folders, globs that no shell expanded, and a list on standard input."""

import glob
import os
from collections import Counter
from typing import NamedTuple

from keras_vit.images.listing import list_images, why_left_out
from keras_vit.preprocessing.reading import IMAGE_SUFFIXES, is_image_name
from keras_vit.system import places, remote

STANDARD_INPUT = "-"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Named(NamedTuple):
    """The images that were named, in order, and the other files of the folders and globs."""

    images: tuple[str, ...]
    others: tuple[tuple[str, str], ...]  # (path, why it was not taken)

    @property
    def left_out(self):
        """How many files were not taken: a Counter of the reasons."""
        return Counter(reason for _, reason in self.others)


def named_images(given, stdin=None):
    """The images of what was given, in its order.

    A file is taken whatever its name, and as often as it is given; whether it exists and can be read is seen when it is
    read. Of folders, with all below them, and of globs, the files are taken whose names are those of images, each once.

    Args:
        given: paths or URLs of files and folders, globs (where nothing has that name), and "-" for the paths in
            `stdin`.
        stdin: a binary file with a path per line, or with a zero byte after each, as `find -print0` writes them.

    Returns:
        The images' paths and the other files of the folders and globs, `Named`.

    Raises:
        ValueError: for a folder, a glob or a list without images.
    """
    images, others, files, found = [], {}, set(), set()
    for item in given:
        paths = _listed(stdin.read()) if item == STANDARD_INPUT else [item]
        for path in paths:
            if _is_folder(path) or item != STANDARD_INPUT and _is_glob(path):
                listing = _images_of(path)
                others.update((os.path.normpath(other), (other, reason)) for other, reason in listing.others)
                new = {os.path.normpath(image): image for image in listing.images}
                new = {key: image for key, image in new.items() if key not in files and key not in found}
                found.update(new)
                images += new.values()
            elif os.path.normpath(path) not in found:
                files.add(os.path.normpath(path))
                images.append(path)
    return Named(images=tuple(images), others=tuple(others.values()))


def counted(left_out):
    """Files that were left out, in words: "2 files (.txt is no image), 1 file (...)"."""
    counts = [f"{count} file{'s' if count > 1 else ''} ({reason})" for reason, count in sorted(left_out.items())]
    return ", ".join(counts)


def _listed(data):
    """The paths of a list, in bytes."""
    data = data.removeprefix(BYTE_ORDER_MARK)
    lines = data.split(b"\0") if b"\0" in data else [line.rstrip(b"\r") for line in data.split(b"\n")]
    paths = [os.fsdecode(line) for line in lines if line.strip()]
    if not paths:
        raise ValueError("standard input is empty; expected a path per line, as `find photos -name '*.jpg'` writes.")
    return paths


def _is_folder(path):
    """Whether it is a folder; of a list of a million URLs, those of images are not asked for."""
    return not (places.is_remote(path) and is_image_name(path)) and places.is_folder(path)


def _is_glob(path):
    return glob.has_magic(path) and not (places.is_file(path) if places.is_remote(path) else os.path.lexists(path))


def _images_of(path):
    """The images and other files of a folder or a glob; a ValueError without images."""
    places.list_anew(path)
    folder = _is_folder(path)
    listing = list_images(path) if folder else _matched(path)
    if not listing.images:
        left = f" Left out: {counted(listing.left_out)}." if listing.left_out else ""
        kind = "folder holds" if folder else "glob matches"
        suffixes = ", ".join(IMAGE_SUFFIXES[:6])
        raise ValueError(f"{path}: this {kind} no image; expected files that end in {suffixes}, ....{left}")
    return listing


def _matched(pattern):
    """The images that a glob matches, and those in the folders that it matches."""
    images, others = [], []
    for path, is_folder in _matches(pattern):
        if is_folder:
            below = list_images(path)
            images += below.images
            others += below.others
        elif reason := why_left_out(os.path.basename(path)):
            others.append((path, reason))
        else:
            images.append(path)
    return Named(images=tuple(dict.fromkeys(images)), others=tuple(dict.fromkeys(others)))


def _matches(pattern):
    """(path, whether it is a folder) of what a glob matches, sorted."""
    if places.is_remote(pattern):
        return remote.matches(pattern).items()
    return ((path, os.path.isdir(path)) for path in sorted(glob.glob(pattern, recursive=True)))
