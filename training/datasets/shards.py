"""A data set as a folder of TFRecord shards, as `keras-vit prepare-data` writes it.

index.json                          classes; files, counts and sha256 of the shards and of the splits' indices
train.index.npz                     of each image: name, class, shard, offset; in the order of the source
train-00000-of-00008.tfrecord, ...  tf.train.Examples; each shard holds a random sample of the split
val..., test...                     likewise

The Examples have the features of TensorFlow's ImageNet scripts: image/encoded (the file's bytes, unchanged),
image/filename, image/class/label (from 0) and image/class/text.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.system.files import atomic_folder
from keras_vit.training.datasets.records import Records, offsets_of
from keras_vit.training.datasets.splits import Split, assemble
from keras_vit.weights.download import sha256

INDEX, FORMAT = "index.json", "keras_vit shards 1"
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
    if shards < 1:
        raise ValueError(f"shards must be 1 or more. Received: {shards}.")
    splits = {"train": data_set.train, "val": data_set.validation}
    if not data_set.test_is_validation:
        splits["test"] = data_set.test
    index = {"format": FORMAT, "name": data_set.name, "classes": list(data_set.classes), "parts": {}}
    with atomic_folder(folder) as temporary:
        for name, split in splits.items():
            count = min(len(split), max(1, round(shards * len(split) / len(data_set.train))))
            writer = _SplitWriter(temporary, name, split, split.relative_names(root), data_set.classes)
            index["parts"][name] = writer.write(count, progress)
        (temporary / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return index


def load(folder):
    """Load the data set that `write` wrote; the images themselves are not read.

    Returns:
        A splits.DataSet.
    Raises:
        ValueError: if the folder has no index.json, or if its files do not match it.
    """
    folder = Path(folder).absolute()
    entries = read_index(folder)
    splits = {name: _load_split(folder, entry) for name, entry in entries["parts"].items()}
    return assemble(entries["name"], tuple(entries["classes"]), splits)


def read_index(folder):
    """The contents of index.json.

    Raises:
        ValueError: if there is no index.json, or if it is damaged or of another format.
    """
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(f"{folder} holds no shards: it has no {INDEX}. `keras-vit prepare-data` writes such a folder.")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Write the folder again by `keras-vit prepare-data`.") from error
    if not isinstance(entries, dict) or entries.get("format") != FORMAT:
        raise ValueError(f"{path} is not of the format {FORMAT!r}. Write the folder again by `keras-vit prepare-data`.")
    return entries


def damage(path, entry, contents=True):
    """Compare a file with its entry in index.json.

    Args:
        contents: compare the sha256 too, for which the file is read, not only the size.
    Returns:
        A description of the difference; None if there is no difference.
    """
    if not path.is_file():
        return "no such file"
    if path.stat().st_size != entry["bytes"]:
        return f"{path.stat().st_size} bytes, not {entry['bytes']}"
    return "another sha256" if contents and sha256(path) != entry["sha256"] else None


@dataclass(frozen=True)
class _SplitWriter:
    folder: Path
    name: str  # train, val or test
    split: Split
    names: tuple[str, ...]
    classes: tuple[str, ...]

    def write(self, count, progress):
        """Write NAME-00000-of-00008.tfrecord, ... and NAME.index.npz; returns the split's entry of index.json."""
        groups = np.array_split(np.random.default_rng(SEED).permutation(len(self.split)), count)
        paths = [self.folder / f"{self.name}-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]
        shards, offsets, lengths = (np.zeros(len(self.split), "int64") for _ in range(3))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, (group, sizes) in enumerate(zip(groups, pool.map(self.write_shard, paths, groups))):
                shards[group], offsets[group], lengths[group] = number, offsets_of(sizes), sizes
                if progress:
                    progress(len(group))
        index = self.folder / f"{self.name}.index.npz"
        names = np.frombuffer("\0".join(self.names).encode(errors="surrogateescape"), "uint8")
        np.savez(index, names=names, labels=self.split.labels, shards=shards, offsets=offsets, lengths=lengths)
        described = [_described(path) | {"pictures": len(group)} for path, group in zip(paths, groups)]
        return {"pictures": len(self.split), "index": _described(index), "shards": described}

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

        label = int(self.split.labels[index])
        texts = {
            ENCODED: self.split.read(index),
            "image/filename": self.names[index].encode(errors="surrogateescape"),
            "image/class/text": self.classes[label].encode(errors="surrogateescape"),
        }
        features = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for k, v in texts.items()}
        features["image/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
        return tf.train.Example(features=tf.train.Features(feature=features))


def _described(path):
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _load_split(folder, entry):
    for file in (entry["index"], *entry["shards"]):
        if found := damage(folder / file["file"], file, contents=file is entry["index"]):
            raise ValueError(f"{folder / file['file']} does not match {INDEX}: {found}. Copy it again.")
    with np.load(folder / entry["index"]["file"]) as arrays:
        names = tuple(arrays["names"].tobytes().decode(errors="surrogateescape").split("\0"))
        files = tuple(str(folder / shard["file"]) for shard in entry["shards"])
        records = Records(files, arrays["shards"].astype("int32"), arrays["offsets"], arrays["lengths"], ENCODED)
        return Split(names, arrays["labels"], records=records)
