"""A folder of class folders: which splits it has, which classes, which images, and what is not taken.

photos/cat/1.jpg, photos/dog/7.png, ...             one split, "all"
photos/train/cat/..., photos/val/cat/...            the splits "train", "val" and "test", by any of the names of
photos/Training/cat/..., photos/Testing/cat/...     `split_names`
photos/training_set/training_set/cat/...            the same, as Kaggle's archives nest it

Training, `check-data`, `prepare-data` and `validate` all ask here. A folder with the name of a split is one if it holds
class folders; with images directly inside, beside other such folders, it is a class (bus/, car/, train/). Where that is
not clear, nothing is guessed: an error says how to name the folders.
"""

import os
from collections import Counter
from dataclasses import dataclass, field

from keras_vit.images.listing import LEFT_BY_OTHERS, Listing, holds_image, is_passed_over, list_images
from keras_vit.images.names import normalized, printable, refuse_other_encodings, some
from keras_vit.images.split_names import IN_WORDS, SPLITS, looks_like, split_of
from keras_vit.preprocessing.reading import is_image_name
from keras_vit.system import places

REMEDY = "or list the images in a CSV file with the columns path,label,split"
KNOWN = "train, training, training_set, ...; val, valid, validation, dev, ...; test, testing, test_set, ..."
NO_IMAGE = "no image"
OUTSIDE = "an image outside the class folders"


@dataclass(frozen=True)
class SplitFolder:
    """The class folders of one split."""

    folder: str
    classes: dict[str, Listing]  # by name, in the order of the folders' names
    outside: int = 0  # images beside the class folders, which belong to no class

    @property
    def left_out(self):
        """How many files were not taken: a Counter of the reasons."""
        return sum((listing.left_out for listing in self.classes.values()), Counter({OUTSIDE: self.outside}))

    def count(self, name):
        """How many images a class has."""
        return len(self.classes[name].images) if name in self.classes else 0


@dataclass(frozen=True)
class ClassFolders:
    """A folder of class folders, as `find_classes` understood it."""

    folder: str
    splits: dict[str, SplitFolder]  # "train", "val", "test", as far as there are such folders; or "all"
    beside: dict[str, str] = field(default_factory=dict)  # folder that was not taken -> why
    outside: int = 0  # images beside the folders of splits

    @property
    def notes(self):
        """{name: text} for the user: which folder became which split, and what was not taken; may be empty."""
        given = {name: part for name, part in self.splits.items() if name != "all"}
        splits = [f"{_relative(self.folder, part.folder)} is {IN_WORDS[name]}" for name, part in given.items()]
        left_out = sum((split.left_out for split in self.splits.values()), Counter({OUTSIDE: self.outside}))
        beside = [f"{printable(name)}/ ({why})" for name, why in self.beside.items()]
        not_taken = "; ".join(filter(None, (files_in_words(left_out), some(beside, 4))))
        notes = {"splits": ", ".join(splits), "not taken": not_taken}
        return {name: text for name, text in notes.items() if text}


def find_classes(folder, labels=()):
    """Tell the splits and classes of a folder apart and list their images.

    Args:
        labels: names of classes that are known; a folder of images that is called so is a class.

    Returns:
        A `ClassFolders`. It may lack the train split, and have classes without an image, or none.
    Raises:
        ValueError: if the folder does not exist; if it cannot be told which folders are splits; if two folders are the
            same split or class; or if the name of one is not UTF-8.
        OSError: naming a folder that cannot be listed.
    """
    folder = places.plain(folder)
    places.list_anew(folder)
    if not places.is_folder(folder):
        csv = '; a manifest takes dataset="csv"' if places.is_file(folder) else ""
        raise ValueError(f"data_dir is not a folder: {printable(folder)}. Expected class folders in it{csv}.")
    tops = _Tops.look(folder)
    if tops.splits(labels):
        return _with_splits(tops, labels)
    tops.refuse_what_looks_like_splits(labels)
    found = _split_folder(folder)
    beside = {name: "no data" for name in _names(folder) if name in LEFT_BY_OTHERS}
    return ClassFolders(folder, {"all": found}, beside)


def find_split(folder, split, labels=()):
    """The class folders of one split.

    Args:
        split: any name of it: "val", "valid", "Validation", ...; or the name of a folder inside.
        labels: as of `find_classes`.

    Returns:
        A `SplitFolder`.
    Raises:
        ValueError: as `find_classes` does, or if there is no such split.
    """
    folder = places.plain(folder)
    places.list_anew(folder)
    if split in _subfolders(folder):
        return _split_folder(_unwrapped(places.inside(folder, split), split))
    found = find_classes(folder, labels).splits
    if split_of(split) not in found:
        raise ValueError(
            f"{printable(folder)} has no split {split!r}, by any of its names. It has "
            f"{_listed(_relative(folder, s.folder) for s in found.values()) if 'all' not in found else 'no splits'}."
        )
    return found[split_of(split)]


def deeper(folder):
    """The folder below that holds the class folders or splits, where all else only wraps it; None if there is none.

    archive/ with nothing but archive/photos/cat/ and archive/photos/dog/ -> archive/photos
    """
    start = folder = places.plain(folder)
    while not _holds_images_directly(folder):
        inside = _holding_images(folder)
        if len(inside) > 1 or any(split_of(name) for name in inside):
            break
        if not inside:
            return None
        folder = places.inside(folder, inside[0])
    else:
        return None
    return folder if folder != start else None


@dataclass(frozen=True)
class _Tops:
    """The folders inside a folder. What looks like a split is seen without the folders that only wrap it."""

    folder: str
    direct: dict[str, bool]  # name -> whether it has images directly inside
    inside: dict[str, tuple[str, ...]]  # name that looks like a split's -> its subfolders with images
    paths: dict[str, str]  # name that looks like a split's -> the folder with its class folders

    @classmethod
    def look(cls, folder):
        names = _subfolders(folder)
        paths = {name: _unwrapped(places.inside(folder, name), name) for name in names if looks_like(name)}
        direct = {name: _holds_images_directly(paths.get(name) or places.inside(folder, name)) for name in names}
        return cls(folder, direct, {name: _holding_images(path) for name, path in paths.items()}, paths)

    @property
    def others(self):
        """Folders with images whose names do not look like splits'."""
        names = [name for name in self.direct if name not in self.inside]
        return [name for name in names if self.direct[name] or holds_image(places.inside(self.folder, name))]

    def splits(self, labels):
        """{name of a folder: split} of the folders that are splits."""
        known = [name for name in self.inside if split_of(name)]
        pure = [name for name in known if self.inside[name] and not self.direct[name]]
        mixed = [name for name in known if len(self.inside[name]) > 1 and self.direct[name]]  # with stray images
        others = self.others if len(pure) == len(known) == 1 or (mixed and not pure) else []
        if len(others) > 1 or (mixed and not pure and others):  # a split, or a class with folders inside
            name = (pure or mixed)[0]
            if name in labels:
                return {}
            raise ValueError(
                f"{self._path}: {name}/ holds folders of images, as a split does, and {_listed(others)} beside it look "
                f"like classes. If {name}/ is a split, move the others out of the folder; if it is a class, move its "
                f"images directly into it; {REMEDY}."
            )
        return {name: split_of(name) for name in known if name in pure or name in mixed}

    def refuse_unknown(self):
        """Raise a ValueError for folders of class folders whose names look like splits' and are not known."""
        unknown = self._unknown()
        if unknown:
            renamed = ", ".join(f"{name}/ to {'/ or '.join(looks_like(name))}/" for name in unknown[:4])
            raise ValueError(
                f"{self._path}: by their names, {_listed(unknown)} may be splits, but are not known as such. Known "
                f"are, in any case, with or without - and _: {KNOWN}. Rename {renamed}; or move what is no part of the "
                f"data set out of the folder; {REMEDY}."
            )

    def refuse_what_looks_like_splits(self, labels):
        """Raise a ValueError where no folder is a split and some look so."""
        flat = [name for name in self.inside if self.direct[name] and name not in labels]
        unknown, others = self._unknown(), self.others
        if len(unknown) + len(flat) + len(others) == 1:  # nothing but a folder that wraps another, see `deeper`
            return
        nested = [name for name in others if not self.direct[name]]
        if len(unknown) > 1 or len(nested) < 2:  # else it is one class folder among others of the same depth
            self.refuse_unknown()
        if len({looks_like(name) for name in flat}) > 1 and len(others) < 2:
            raise ValueError(
                f"{self._path}: by their names, {_listed(flat)} are splits, but they hold their images directly, so "
                f"that nothing says of which class an image is. Expected {flat[-1]}/CLASS/IMAGE; {REMEDY}."
            )
        self._refuse_splits_below(nested)

    def _refuse_splits_below(self, names):
        """Raise a ValueError where splits lie inside of what would be classes: archive/train/cat/, cat/train/."""
        below = {name: _holding_images(places.inside(self.folder, name)) for name in names}
        below = {name: inside for name, inside in below.items() if _are_splits(inside)}
        for name, inside in below.items():
            if not any(_holds_images_directly(places.inside(self.folder, name, split)) for split in inside):
                raise ValueError(
                    f"{self._path}: {name}/ holds the splits {_listed(inside)}. Give {self._path}/{name}, or move the "
                    f"other folders out; {REMEDY}."
                )
        if below and len(below) == len(self.others):
            raise ValueError(
                f"{self._path}: the splits lie inside the class folders {_listed(below)}. Expected the split above the "
                f"class, as train/{next(iter(below))}/IMAGE; {REMEDY}."
            )

    def _unknown(self):
        return [n for n, inside in self.inside.items() if inside and not self.direct[n] and not split_of(n)]

    @property
    def _path(self):
        return printable(self.folder)


def _with_splits(tops, labels):
    """The `ClassFolders` of a folder with splits."""
    named, folders = tops.splits(labels), {}
    tops.refuse_unknown()
    for name, split in named.items():
        if split in folders:
            raise ValueError(
                f"{printable(tops.folder)}: both {folders[split]}/ and {name}/ are the {IN_WORDS[split]} split. Rename "
                "one, or move it out of the folder."
            )
        folders[split] = name
    splits = {split: _split_folder(tops.paths[folders[split]]) for split in SPLITS if split in folders}
    beside = {name: _why_beside(tops, name) for name in tops.direct if name not in named}
    beside |= {name: "no data" for name in _names(tops.folder) if name in LEFT_BY_OTHERS}
    return ClassFolders(tops.folder, splits, beside, _images_directly(tops.folder))


def _are_splits(names):
    """Whether folders are a train split and another one, and nothing else."""
    found = set(map(split_of, names))
    return "train" in found and len(found) > 1 and None not in found


def _why_beside(tops, name):
    """Why a folder beside splits was not taken."""
    images = len(list_images(places.inside(tops.folder, name)).images)
    counted = f"{images:,} image{'s' if images != 1 else ''}" if images else NO_IMAGE
    return f"{counted} without class folders" if split_of(name) and images else counted


def _unwrapped(path, name):
    """The folder below, where a split's holds nothing but a folder of the same split: training_set/training_set."""
    while not _holds_images_directly(path):
        inside = _holding_images(path)
        if len(inside) != 1 or not set(looks_like(inside[0])) & set(looks_like(name)):
            break
        path = places.inside(path, inside[0])
    return path


def _split_folder(path):
    """The `SplitFolder` of a folder with class folders."""
    classes, names = {}, _subfolders(path)
    refuse_other_encodings(names, path)
    for name in names:
        label = normalized(name)
        if label in classes:
            raise ValueError(
                f"{printable(path)} has two folders for the class {label}, whose names differ in their bytes only "
                f"(Unicode's NFC and NFD): {classes[label].folder!a} and {places.inside(path, name)!a}. Put the images "
                "of one into the other."
            )
        classes[label] = list_images(places.inside(path, name))
    return SplitFolder(path, classes, _images_directly(path))


def _subfolders(folder):
    """Names of the folders inside, sorted, that are neither hidden nor left by other programs."""
    with places.scan(folder) as entries:
        return sorted(entry.name for entry in entries if not is_passed_over(entry.name) and entry.is_dir())


def _names(folder):
    """The names of all that lies inside, sorted."""
    with places.scan(folder) as entries:
        return sorted(entry.name for entry in entries)


def _holding_images(folder):
    """Names of the folders inside that hold images, at any depth."""
    return tuple(name for name in _subfolders(folder) if holds_image(places.inside(folder, name)))


def _holds_images_directly(folder):
    with places.scan(folder) as entries:
        return any(is_image_name(entry.name) and not entry.is_dir() for entry in entries)


def _images_directly(folder):
    with places.scan(folder) as entries:
        return sum(is_image_name(entry.name) and not entry.is_dir() for entry in entries)


def files_in_words(left_out, shown=4):
    """A Counter of reasons in words: "14 files (12 x .txt is no image, 2 x no suffix)"; empty if it is."""
    total, counted = left_out.total(), left_out.most_common()
    reasons = [f"{count:,} x {reason}" for reason, count in counted] if len(counted) > 1 else [*left_out]
    return f"{total:,} file{'s' if total > 1 else ''} ({some(reasons, shown)})" if total else ""


def _relative(folder, path):
    return printable(places.relative(path, folder).replace(os.sep, "/")) + "/"


def _listed(names, shown=4):
    return some([f"{printable(name).rstrip('/')}/" for name in names], shown)
