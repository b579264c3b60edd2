"""The image files below a folder, on a disk or in an object store, and what else lies there."""

import os
from collections import Counter
from dataclasses import dataclass

from keras_vit.preprocessing.reading import is_image_name, missing_plugin
from keras_vit.system import places

LEFT_BY_OTHERS = ("__MACOSX", "@eaDir")  # folders of macOS' archives and Synology's disks: no images of the user's
SECOND_LINK = "a second link to a folder"
NO_FILE = "a pipe, socket or device"  # which would be waited for without end


@dataclass(frozen=True)
class Listing:
    """The image files of a folder, and the other files with the reasons why they were not taken."""

    folder: str
    images: tuple[str, ...]  # sorted paths, which begin with the folder's
    others: tuple[tuple[str, str], ...] = ()  # (path, reason), sorted

    @property
    def left_out(self):
        """How many files were not taken: a Counter of the reasons."""
        return Counter(reason for _, reason in self.others)


def list_images(folder):
    """List a folder recursively; links to folders are followed, each folder once.

    Hidden files and folders (as macOS' "._x.jpg"), and LEFT_BY_OTHERS, are passed over and not counted.

    Returns:
        A `Listing`.
    Raises:
        OSError: naming a folder that cannot be listed.
    """
    folder, images, others = os.fspath(folder), [], []
    for path, entries, first in _walk(folder):
        for name, is_file in entries:
            if reason := why_left_out(name) if is_file else NO_FILE:
                others.append((places.inside(path, name), reason))
            elif first:
                images.append(places.inside(path, name))
            else:
                others.append((places.inside(path, name), SECOND_LINK))
    return Listing(folder, tuple(sorted(images)), tuple(sorted(others)))


def holds_image(folder):
    """Whether there is an image file in a folder or below it."""
    return any(is_image_name(name) for _, entries, _ in _walk(folder) for name, _ in entries)


def is_passed_over(name):
    """Whether a folder of this name is hidden, or left by other programs."""
    return name.startswith(".") or name in LEFT_BY_OTHERS


def why_left_out(name):
    """Why a file of this name is not taken as an image, in words; None if it is."""
    if is_image_name(name):
        return missing_plugin(name)
    suffix = os.path.splitext(name)[1].lower()
    return f"{suffix} is no image" if suffix else "no suffix"


def _walk(folder):
    """(path, its entries that are not hidden, whether it is met for the first time) of a folder and all below.

    An entry is the name of something other than a folder, and whether that is a file or a link that leads nowhere.
    Links are followed after all else, so that a folder's own path counts and not that of a link to it. No file is asked
    for more than its folder says; `realpath` is called for folders only.
    """
    seen, starts = set(), [folder]
    for start in starts:  # which grows
        waiting = [start]
        while waiting:
            path = waiting.pop()
            real = path if places.is_remote(path) else os.path.realpath(path)
            first = real not in seen
            seen.add(real)
            below, entries = [], []
            with places.scan(path) as listed:
                for entry in listed:
                    if entry.is_dir():
                        below.append(entry)
                    elif not entry.name.startswith("."):
                        entries.append((entry.name, _is_file(entry)))
            yield path, entries, first
            # What is met again is a link to a folder above, or a second link to the same: its folders were met as well.
            below = sorted((e for e in below if first and not is_passed_over(e.name)), key=lambda e: e.name)
            starts += [entry.path for entry in below if entry.is_symlink()]
            waiting += [entry.path for entry in reversed(below) if not entry.is_symlink()]


def _is_file(entry):
    return entry.is_file() or entry.is_symlink() and not os.path.exists(entry.path)
