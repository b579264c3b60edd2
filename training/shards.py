"""A data set as a folder of TFRecord shards, as `keras-vit prepare-data` writes it.

index.json                          classes; files, counts and sha256 of the shards and of the parts' indices
train.index.npz                     of each picture: name, class, shard, offset; in the order of the source
train-00000-of-00008.tfrecord, ...  tf.train.Examples; each shard holds pictures from all over the part
val..., test...                     likewise

The Examples have the features that TensorFlow's ImageNet scripts gave them: image/encoded (the file's bytes as they
were), image/filename, image/class/label (from 0) and image/class/text.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.files import atomic_folder
from keras_vit.training.parts import Part, assemble
from keras_vit.training.records import Records, offsets_of
from keras_vit.weights.download import sha256

INDEX, FORMAT = "index.json", "keras_vit shards 1"
ENCODED = "image/encoded"
SEED = 0  # of the order of pictures over the shards


def write(data_set, folder, shards, root=None, progress=None):
    """Write `data_set` as a folder of shards, whole or not at all; the same data set gives the same bytes.

    Pictures are not decoded: `keras-vit check-data` does that.

    Args:
        shards: files of the training part; the other parts have as many in proportion, one at least.
        root: folder that picture files are named relative to.
        progress: None, or called with the number of pictures of every shard that is done.
    Output: the contents of index.json.
    Raises: FileExistsError if there is anything at `folder`; OSError for a picture that cannot be read.
    """
    if shards < 1:
        raise ValueError(f"shards must be 1 or more. Received: {shards}.")
    parts = {"train": data_set.train, "val": data_set.val}
    if not data_set.held_out_is_val:
        parts["test"] = data_set.held_out
    index = {"format": FORMAT, "name": data_set.name, "classes": list(data_set.classes), "parts": {}}
    with atomic_folder(folder) as temporary:
        for name, part in parts.items():
            count = min(len(part), max(1, round(shards * len(part) / len(data_set.train))))
            writer = _PartWriter(temporary, name, part, part.names_from(root), data_set.classes)
            index["parts"][name] = writer.write(count, progress)
        (temporary / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return index


def load(folder):
    """The data set that `write` wrote.

    Raises: ValueError for a folder without index.json, and for files that are not what it says.
    """
    folder = Path(folder).absolute()
    entries = read_index(folder)
    parts = {name: _load_part(folder, part) for name, part in entries["parts"].items()}
    return assemble(entries["name"], tuple(entries["classes"]), parts)


def read_index(folder):
    """The contents of index.json; ValueError if there is none, or it is not what `write` writes."""
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
    """How a file differs from its entry in index.json, in words; None if it does not.

    Args:
        contents: read it and compare its sha256, not only its size.
    """
    if not path.is_file():
        return "no such file"
    if path.stat().st_size != entry["bytes"]:
        return f"{path.stat().st_size} bytes, not {entry['bytes']}"
    return "another sha256" if contents and sha256(path) != entry["sha256"] else None


@dataclass(frozen=True)
class _PartWriter:
    folder: Path
    name: str  # train, val or test
    part: Part
    names: tuple[str, ...]
    classes: tuple[str, ...]

    def write(self, count, progress):
        """Write NAME-00000-of-00008.tfrecord, ... and NAME.index.npz; their entry of index.json."""
        groups = np.array_split(np.random.default_rng(SEED).permutation(len(self.part)), count)
        paths = [self.folder / f"{self.name}-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]
        shards, offsets, lengths = (np.zeros(len(self.part), "int64") for _ in range(3))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, (group, sizes) in enumerate(zip(groups, pool.map(self.write_shard, paths, groups))):
                shards[group], offsets[group], lengths[group] = number, offsets_of(sizes), sizes
                if progress:
                    progress(len(group))
        index = self.folder / f"{self.name}.index.npz"
        names = np.frombuffer("\0".join(self.names).encode(errors="surrogateescape"), "uint8")
        np.savez(index, names=names, labels=self.part.labels, shards=shards, offsets=offsets, lengths=lengths)
        described = [_described(path) | {"pictures": len(group)} for path, group in zip(paths, groups)]
        return {"pictures": len(self.part), "index": _described(index), "shards": described}

    def write_shard(self, path, numbers):
        """Write the pictures `numbers` as records; the lengths of their Examples."""
        import tensorflow as tf

        lengths = []
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in numbers:
                content = self.example(number).SerializeToString(deterministic=True)
                writer.write(content)
                lengths.append(len(content))
        return lengths

    def example(self, number):
        """One picture as a tf.train.Example."""
        import tensorflow as tf

        label = int(self.part.labels[number])
        texts = {
            ENCODED: self.part.read(number),
            "image/filename": self.names[number].encode(errors="surrogateescape"),
            "image/class/text": self.classes[label].encode(errors="surrogateescape"),
        }
        features = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for k, v in texts.items()}
        features["image/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
        return tf.train.Example(features=tf.train.Features(feature=features))


def _described(path):
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _load_part(folder, entry):
    for file in (entry["index"], *entry["shards"]):
        if found := damage(folder / file["file"], file, contents=file is entry["index"]):
            raise ValueError(f"{folder / file['file']} is not what {INDEX} says: {found}. Copy it again.")
    with np.load(folder / entry["index"]["file"]) as arrays:
        names = tuple(arrays["names"].tobytes().decode(errors="surrogateescape").split("\0"))
        files = tuple(str(folder / shard["file"]) for shard in entry["shards"])
        records = Records(files, arrays["shards"].astype("int32"), arrays["offsets"], arrays["lengths"], ENCODED)
        return Part(names, arrays["labels"], records=records)
