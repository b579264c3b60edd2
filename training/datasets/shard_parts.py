"""Shards of a data set written on several machines: the part of each, and one folder of all parts.

Part 3 of 16 of the folder `photos` is the folder photos-00003-of-00016: every sixteenth TFRecord file, as
`keras_vit.training.datasets.shards.write` would write it, each with a .npz (names, labels and lengths of its images)
and a .json (bytes, sha256, pictures), which is written last; and part.json, which says of what it is a part. Files that
are there are not written again: a part that was interrupted goes on.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.prediction.resumable import difference
from keras_vit.prediction.shards import number_of, part_path
from keras_vit.system import bounded_json
from keras_vit.system.files import atomic_file, atomic_folder, held
from keras_vit.system.limits import MAX_HEADER
from keras_vit.training.datasets import shards
from keras_vit.training.datasets.splits import Split
from keras_vit.weights import readers

PART = "part.json"
SHOWN = 5  # missing parts or files that an error names


@dataclass(frozen=True)
class Written:
    """What a part has."""

    folder: Path
    files: int
    images: int
    earlier: int  # files that were there before


def write_part(data_set, folder, count, part, root=None, progress=None):
    """Write a part of the shards of a data set, or what is missing of it.

    Args:
        folder: of all shards; the part's lies beside it.
        count, root, progress: as `shards.write` takes `shards`, `root` and `progress`.
        part: (i, N), 1 <= i <= N.

    Returns:
        A `Written`.

    Raises:
        ValueError: if there are fewer shards than parts; if the part's folder is of another data set or other settings,
            or another process writes to it.
        FileExistsError: if `folder` exists, or the part's folder is something else.
        OSError: if an image cannot be read.
    """
    folder, here = Path(folder), part_path(folder, part)
    writers = shards.split_writers(data_set, count, root)
    files = _files(writers)
    if part[1] > len(files):
        raise ValueError(f"{len(files)} shards make at most {len(files)} parts. Received: part {part[0]} of {part[1]}.")
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} exists already; give another name or remove it first.")
    if here.is_dir() and any(here.iterdir()) and not (here / PART).is_file():
        raise FileExistsError(f"{here} exists, and is no part of a data set: it has no {PART}. Move it away.")
    here.mkdir(parents=True, exist_ok=True)
    with held(here):
        _claim(here, _request(data_set, writers), part)
        groups = {name: writer.groups() for name, writer in writers.items()}
        mine, earlier, images = files[part[0] - 1 :: part[1]], 0, 0
        for name, number in mine:
            group = groups[name][number]
            if (here / f"{writers[name].files()[number]}.json").is_file():
                earlier += 1
            else:
                _write_file(here, writers[name], number, group)
            images += len(group)
            if progress:
                progress(len(group))
    return Written(here, len(mine), images, earlier)


def merge(folder):
    """Make the folder of all shards of its parts, which lie beside it and stay: the bytes that one run would write.

    Files are linked where the file system can, else copied. Their sizes are compared; `keras-vit check-data` compares
    their checksums.

    Returns:
        The contents of index.json.

    Raises:
        FileNotFoundError: naming the parts, or files of them, that are missing.
        FileExistsError: if `folder` exists.
        ValueError: for parts that do not belong together, and for a file of another size.
    """
    folder = Path(folder)
    parts = _parts(folder)
    requests = [_read(part / PART)["request"] for part in parts]
    for part, request in zip(parts, requests):
        if different := difference(requests[0], request):
            raise ValueError(
                f"{part} is no part of the same data set as {parts[0]}: it has {different}. Write it as the others."
            )
    splits, files = requests[0]["splits"], _files(requests[0]["splits"])
    places = {file: parts[number % len(parts)] for number, file in enumerate(files)}
    entries = {(name, number): _entry(places[name, number], splits[name]["files"][number]) for name, number in files}
    index = {key: requests[0][key] for key in ("format", "name", "classes")} | {"parts": {}}
    with atomic_folder(folder) as temporary:
        for name, split in splits.items():
            of_split = [(places[name, number], file) for number, file in enumerate(split["files"])]
            for place, file in of_split:
                _link(place / file, temporary / file)
            described = [entries[name, number] for number in range(len(of_split))]
            index["parts"][name] = _merged_entry(temporary, name, split["pictures"], of_split, described)
        shards.write_index(temporary, index)
    return index


def part_folders(folder):
    """{N: the folders beside `folder` that are called as one of its N parts}."""
    folder, found = Path(folder), {}
    for path in folder.parent.iterdir() if folder.parent.is_dir() else ():
        if (number := number_of(path, folder)) and path.is_dir():
            found.setdefault(number[1], []).append(path)
    return found


def _files(splits):
    """(split, number) of all shards, in order; of `SplitWriter`s or of what a request says of splits."""
    counts = {name: len(split["files"]) if isinstance(split, dict) else split.count for name, split in splits.items()}
    return [(name, number) for name, count in counts.items() for number in range(count)]


def _request(data_set, writers):
    """All that the bytes depend on, but for the images' own."""
    described = shards.description(data_set)
    names, labels = hashlib.sha256(), hashlib.sha256()
    for writer in writers.values():
        names.update("\0".join(writer.names).encode(errors="surrogateescape"))
        labels.update(np.ascontiguousarray(writer.split.labels).tobytes())
    return {
        **{key: described[key] for key in ("format", "name", "classes")},
        "number_of_shards": sum(writer.count for writer in writers.values()),
        "list_of_images": names.hexdigest(),
        "division_into_classes": labels.hexdigest(),
        "splits": {n: {"pictures": len(writer.split), "files": writer.files()} for n, writer in writers.items()},
    }


def _claim(folder, request, part):
    """Write part.json, or compare it."""
    if not (folder / PART).is_file():
        with atomic_file(folder / PART) as temporary:
            temporary.write_text(json.dumps({"part": part, "request": request}, indent=1) + "\n", encoding="utf-8")
    elif different := difference(_read(folder / PART)["request"], request):
        raise ValueError(
            f"{folder} was begun from {different}. Go on with the same data set and options, or remove the folder."
        )


def _write_file(folder, writer, number, group):
    file = writer.files()[number]
    with atomic_file(folder / file) as temporary:
        lengths = writer.write_shard(temporary, group)
    names = np.frombuffer("\0".join(writer.names[i] for i in group).encode(errors="surrogateescape"), "uint8")
    with atomic_file(folder / f"{file}.npz") as temporary:
        np.savez(temporary, names=names, labels=writer.split.labels[group], lengths=np.array(lengths, "int64"))
    entry = shards.describe(folder / file) | {"pictures": len(group)}
    with atomic_file(folder / f"{file}.json") as temporary:
        temporary.write_text(json.dumps(entry), encoding="utf-8")


def _parts(folder):
    """The folders of all parts, in order, all of whose files are there."""
    found = part_folders(folder)
    if not found:
        raise FileNotFoundError(
            f"There is no part of {folder}: expected {part_path(folder, (1, 2)).name} and the like beside it, as "
            "`keras-vit prepare-data --shard 1/2` writes them."
        )
    if len(found) > 1:
        raise ValueError(
            f"{folder} is there in {' and in '.join(map(str, sorted(found)))} parts. Move the others away."
        )
    (count,) = found
    parts = [part_path(folder, (number, count)) for number in range(1, count + 1)]
    _require(f"parts of {folder}", [part.name for part in parts if not (part / PART).is_file()])
    for number, part in enumerate(parts):
        splits = _read(part / PART)["request"]["splits"]
        names = [splits[name]["files"][i] for name, i in _files(splits)[number::count]]
        _require(f"files of {part}", [name for name in names if not (part / f"{name}.json").is_file()])
    return parts


def _require(what, missing):
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise FileNotFoundError(
            f"{len(missing)} {what} are missing: {', '.join(missing[:SHOWN])}{more}. Write them by --shard, or copy "
            "them."
        )


def _entry(part, file):
    """The entry of a file in index.json."""
    entry = _read(part / f"{file}.json")
    if damage := shards.damage(part / file, entry, contents=False):
        raise ValueError(f"{part / file} is not what was written: {damage}. Copy it again, or write the part again.")
    return entry


def _merged_entry(folder, name, pictures, places, described):
    """Write the index of a split; returns its entry in index.json."""
    count, arrays = len(places), [readers.read(place / f"{file}.npz") for place, file in places]
    writer = shards.SplitWriter(name, Split((None,) * pictures, np.zeros(pictures, "int32")), (), (), count)
    groups = writer.groups()
    names, labels = [None] * pictures, None
    for group, array in zip(groups, arrays):
        texts = array["names"].tobytes().decode(errors="surrogateescape").split("\0")
        if len(texts) != len(group) or len(array["labels"]) != len(group):
            raise ValueError(f"A part of {folder.name} has {len(texts)} images in a shard of {len(group)}.")
        if labels is None:
            labels = np.zeros((pictures, *array["labels"].shape[1:]), array["labels"].dtype)
        labels[group] = array["labels"]
        for image, text in zip(group, texts):
            names[image] = text
    whole = shards.SplitWriter(name, Split(tuple(names), labels), tuple(names), (), count)
    return whole.entry(folder, groups, [array["lengths"] for array in arrays], described)


def _link(file, target):
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, target)


def _read(path):
    """A JSON file of a part.

    Raises:
        ValueError: naming it if it is damaged.
    """
    content = path.read_bytes()
    try:
        if len(content) > MAX_HEADER:
            raise ValueError(f"it has {len(content):,} bytes; the limit is {MAX_HEADER:,}")
        return bounded_json.parse(content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Write the part again.") from error
