"""A data set as a folder of TFRecord shards, as `keras-vit prepare-data` writes it.

index.json                          classes; files, counts and sha256 of the shards and of the splits' indices
train.index.npz                     of each image: name, class, shard, offset; in the order of the source
train-00000-of-00008.tfrecord, ...  tf.train.Examples; each shard holds a random sample of the split
val..., test...                     likewise

The Examples have the features of TensorFlow's ImageNet scripts: image/encoded (the file's bytes, unchanged),
image/filename, image/class/label (from 0) and image/class/text. Where an image may have several classes, the last two
are lists, of any length, the index has 0 and 1 for each class, and the format is 2.
"""

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from keras_vit.system import places, remote
from keras_vit.system.files import atomic_folder, scratch_folder
from keras_vit.system.limits import MAX_HEADER
from keras_vit.training.datasets.records import FRAME, Records, offsets_of
from keras_vit.training.datasets.splits import Split, assemble
from keras_vit.weights import readers
from keras_vit.weights.download import sha256

INDEX, FORMAT = "index.json", "keras_vit shards 1"
FORMAT_SEVERAL = "keras_vit shards 2"  # of several classes per image
ENCODED = "image/encoded"
SEED = 0  # of the shuffle that distributes images over shards


def write(data_set, folder, shards, root=None, progress=None):
    """Write `data_set` as a folder of shards, completely or not at all; the same data set gives the same bytes.

    Images are not decoded: `keras-vit check-data` does that.

    Args:
        shards: number of files of the train split; the other splits have proportionally many, at least one.
        root: folder that paths of image files are made relative to.
        progress: None, or a function that is called with the number of images of every finished shard.
    Returns:
        The contents of index.json.
    Raises:
        ValueError: if `shards` is less than 1.
        FileExistsError: if `folder` exists.
        OSError: if an image cannot be read.
    """
    index = description(data_set)
    with atomic_folder(folder) as temporary:
        for name, writer in split_writers(data_set, shards, root).items():
            index["parts"][name] = writer.write(temporary, progress)
        write_index(temporary, index)
    return index


def description(data_set):
    """What index.json says of a data set before its splits are written."""
    format = FORMAT_SEVERAL if data_set.multi_label else FORMAT
    return {"format": format, "name": data_set.name, "classes": list(data_set.classes), "parts": {}}


def split_writers(data_set, shards, root=None):
    """{"train", "val" or "test": `SplitWriter`} of the splits that the data set has; arguments as `write` has them."""
    if shards < 1:
        raise ValueError(f"shards must be 1 or more. Received: {shards}.")
    splits = {"train": data_set.train, "val": data_set.validation}
    if not data_set.test_is_validation:
        splits["test"] = data_set.test
    counts = {
        name: min(len(split), max(1, round(shards * len(split) / len(data_set.train))))
        for name, split in splits.items()
    }
    return {
        name: SplitWriter(name, split, split.relative_names(root), data_set.classes, counts[name])
        for name, split in splits.items()
    }


def write_index(folder, index):
    """Write index.json, which completes a folder."""
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def load(folder):
    """Load the data set that `write` wrote; the images themselves are not read.

    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if the folder has no index.json, or if its files do not match it.
    """
    entries, splits = load_splits(folder)
    return assemble(entries["name"], tuple(entries["classes"]), splits)


def load_splits(folder):
    """The contents of index.json, and the splits that the folder has: {"train", "val" or "test": Split}.

    Raises:
        ValueError: as `load` does.
    """
    folder = places.absolute(folder)
    places.list_anew(folder)
    entries = read_index(folder)
    classes, several = len(entries["classes"]), entries["format"] == FORMAT_SEVERAL
    return entries, {name: _load_split(folder, entry, classes, several) for name, entry in entries["parts"].items()}


def read_index(folder):
    """The contents of index.json.

    Raises:
        ValueError: if there is no index.json, or if it is damaged or of another format.
    """
    path = places.inside(folder, INDEX)
    if not places.is_file(path):
        raise ValueError(f"{folder} holds no shards: it has no {INDEX}. `keras-vit prepare-data` writes such a folder.")
    try:
        if places.size(path) > MAX_HEADER:
            raise ValueError(f"it has {places.size(path):,} bytes; the limit is {MAX_HEADER:,}")
        entries = json.loads(places.read(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}. Write the folder again by `keras-vit prepare-data`.") from error
    if not isinstance(entries, dict) or entries.get("format") not in (FORMAT, FORMAT_SEVERAL):
        raise ValueError(
            f"{path} is not of the format {FORMAT!r} or {FORMAT_SEVERAL!r}. Write the folder again by `keras-vit "
            "prepare-data`."
        )
    if wrong := _wrong_entry(entries):
        raise ValueError(f"{path} is damaged: {wrong}. Write the folder again by `keras-vit prepare-data`.")
    return entries


def _wrong_entry(entries):
    """What is wrong with the contents of index.json, in words; None if nothing is.

    Files have the names that `write` gives them: so none lies outside the folder, and none is of another split.
    """
    classes, parts = entries.get("classes"), entries.get("parts")
    if not isinstance(entries.get("name"), str) or not _is_list(classes, str) or not classes:
        return "it has no name, or no classes"
    if not isinstance(parts, dict) or not {"train"} <= parts.keys() <= {"train", "val", "test"}:
        return "its parts are not train, val and test"
    for name, part in parts.items():
        if not isinstance(part, dict) or not _is_count(part.get("pictures")) or not _is_list(part.get("shards"), dict):
            return f"its part {name} has no number of images, or no shards"
        files, count = [part.get("index"), *part["shards"]], len(part["shards"])
        for file, expected in zip(files, [f"{name}.index.npz", *_shard_names(name, count)]):
            if not isinstance(file, dict) or file.get("file") != expected:
                received = file.get("file") if isinstance(file, dict) else file
                return f"a file of its part {name} must be {expected}, not {received!r:.100}"
            if not _is_count(file.get("bytes")) or not isinstance(file.get("sha256"), str):
                return f"it does not say how many bytes {expected} has, or their sha256"
    return None


def _is_list(value, kind):
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _is_count(value):
    return type(value) is int and 0 <= value < 2**63


def _shard_names(name, count):
    """NAME-00000-of-00008.tfrecord, ..."""
    return [f"{name}-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]


def damage(path, entry, contents=True):
    """Compare a file with its entry in index.json.

    Args:
        contents: compare the sha256 too, for which the file is read, not only the size.
    Returns:
        A description of the difference; None if there is no difference.
    """
    if not places.is_file(path):
        return "no such file"
    if places.size(path) != entry["bytes"]:
        return f"{places.size(path)} bytes, not {entry['bytes']}"
    digest = remote.sha256 if places.is_remote(path) else sha256
    return "another sha256" if contents and digest(path) != entry["sha256"] else None


@dataclass(frozen=True)
class SplitWriter:
    """A split and the files that it becomes."""

    name: str  # train, val or test
    split: Split
    names: tuple[str, ...]  # of its images
    classes: tuple[str, ...]
    count: int  # of shards

    def groups(self):
        """The numbers of the images of each shard."""
        return np.array_split(np.random.default_rng(SEED).permutation(len(self.split)), self.count)

    def files(self):
        """NAME-00000-of-00008.tfrecord, ..."""
        return _shard_names(self.name, self.count)

    def write(self, folder, progress):
        """Write all shards and the split's index; returns the split's entry of index.json."""
        groups, paths = self.groups(), [folder / name for name in self.files()]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            lengths = []
            for group, sizes in zip(groups, pool.map(self.write_shard, paths, groups)):
                lengths.append(sizes)
                if progress:
                    progress(len(group))
        described = [describe(path) | {"pictures": len(group)} for path, group in zip(paths, groups)]
        return self.entry(folder, groups, lengths, described)

    def entry(self, folder, groups, lengths, described):
        """Write NAME.index.npz, where all shards are; returns the split's entry of index.json.

        Args:
            groups: as `groups` gives them.
            lengths: of the Examples of each shard.
            described: the shards' own entries.
        """
        shards, offsets, sizes = (np.zeros(len(self.split), "int64") for _ in range(3))
        for number, (group, of_shard) in enumerate(zip(groups, lengths)):
            shards[group], offsets[group], sizes[group] = number, offsets_of(of_shard), of_shard
        index = folder / f"{self.name}.index.npz"
        names = np.frombuffer("\0".join(self.names).encode(errors="surrogateescape"), "uint8")
        np.savez(index, names=names, labels=self.split.labels, shards=shards, offsets=offsets, lengths=sizes)
        return {"pictures": len(self.split), "index": describe(index), "shards": described}

    def write_shard(self, path, indices):
        """Write the images at `indices` as records; returns the lengths of their Examples."""
        import tensorflow as tf

        lengths = []
        with tf.io.TFRecordWriter(str(path)) as writer:
            for index in indices:
                content = self.example(index).SerializeToString(deterministic=True)
                writer.write(content)
                lengths.append(len(content))
        return lengths

    def example(self, index):
        """One image as a tf.train.Example."""
        import tensorflow as tf

        label = self.split.labels[index]
        numbers = np.flatnonzero(label).tolist() if self.split.multi_label else [int(label)]
        texts = {
            ENCODED: [self.split.read(index)],
            "image/filename": [self.names[index].encode(errors="surrogateescape")],
            "image/class/text": [self.classes[number].encode(errors="surrogateescape") for number in numbers],
        }
        features = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)) for k, v in texts.items()}
        features["image/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
        return tf.train.Example(features=tf.train.Features(feature=features))


def describe(path):
    """A file's entry in index.json."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _load_split(folder, entry, classes, several):
    for file in (entry["index"], *entry["shards"]):
        path = places.inside(folder, file["file"])
        if found := damage(path, file, contents=file is entry["index"]):
            raise ValueError(f"{path} does not match {INDEX}: {found}. Copy it again.")
    path = places.inside(folder, entry["index"]["file"])
    with _local(path) as local:
        arrays = readers.read(local)
        if wrong := _wrong_arrays(arrays, entry, classes, several):
            raise ValueError(
                f"{path} does not match {INDEX}: {wrong}. Write the folder again by `keras-vit prepare-data`."
            )
        files = tuple(places.inside(folder, shard["file"]) for shard in entry["shards"])
        records = Records(files, arrays["shards"].astype("int32"), arrays["offsets"], arrays["lengths"], ENCODED)
        return Split(_names(arrays), arrays["labels"], records=records)


@contextlib.contextmanager
def _local(path):
    """The path of a file, or of a copy of an object in a store, which is removed at the end."""
    if not places.is_remote(path):
        yield path
        return
    with scratch_folder() as folder:
        copy = folder / os.path.basename(path)
        remote.download(path, copy)
        yield copy


def _names(arrays):
    return tuple(arrays["names"].tobytes().decode(errors="surrogateescape").split("\0"))


def _wrong_arrays(arrays, entry, classes, several):
    """What is wrong with a split's index, in words; None if nothing is."""
    count, shapes = entry["pictures"], arrays.shapes()
    expected = dict.fromkeys(("labels", "shards", "offsets", "lengths"), (count,))
    if several:
        expected["labels"] = (count, classes)
    if any(shapes.get(name) != shape for name, shape in expected.items()) or len(shapes.get("names", ())) != 1:
        each = f" of {classes} classes each" if several else ""
        return f"it has not {count} labels{each}, shards, offsets and lengths, and names"
    labels, shards, offsets, lengths = (arrays[name] for name in expected)
    kinds = [array.dtype.kind for array in (labels, shards, offsets, lengths)]
    if kinds != ["u" if several else "i", "i", "i", "i"] or arrays["names"].dtype != "uint8":
        return "its numbers are no integers"
    if len(_names(arrays)) != count:
        return f"it has not {count} names"
    if several and labels.max(initial=0) > 1:
        return "its labels are not 0 and 1"
    classes_exist = several or ((labels >= 0) & (labels < classes)).all()
    if not classes_exist or ((shards < 0) | (shards >= len(entry["shards"]))).any():
        return "it has a class or a shard that there is not"
    ends = np.array([shard["bytes"] for shard in entry["shards"]], "int64")[shards] - FRAME
    if ((offsets < 0) | (lengths < 0) | (lengths > ends) | (offsets > ends - lengths)).any():
        return "it has an image behind the end of its shard"
    return None
