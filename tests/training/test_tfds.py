import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets
from PIL import Image

from keras_vit.training import data, tfds
from keras_vit.training.parts import fingerprint
from tests.training.toy import recipe

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 9, 8, 3), "uint8")


class ToyPictures(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Thirty pictures of two classes, in two splits; and three whose classes are not known."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        image, label = tensorflow_datasets.features.Image(), tensorflow_datasets.features.ClassLabel(names=["a", "b"])
        features = tensorflow_datasets.features.FeaturesDict({"image": image, "label": label})
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
        return {
            "train": self._generate_examples(0, 24),
            "test": self._generate_examples(24, 30),
            "hidden": enumerate([HIDDEN] * 3),
        }

    def _generate_examples(self, start, stop):
        for i in range(start, stop):
            yield i, {"image": PIXELS[i], "label": i % 2}


HIDDEN = {"image": PIXELS[0], "label": -1}


class NoClasses(ToyPictures):
    """Pictures without classes."""

    def _info(self):
        features = tensorflow_datasets.features.FeaturesDict({"image": tensorflow_datasets.features.Image()})
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
        return {"train": [(0, {"image": PIXELS[0]})]}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    for builder in (ToyPictures, NoClasses):
        config = tensorflow_datasets.download.DownloadConfig(num_shards=3 if builder is ToyPictures else 1)
        builder(data_dir=folder).download_and_prepare(download_config=config)
    return folder


def pixels(part):
    """Of every picture, as bytes."""
    return [np.array(Image.open(io.BytesIO(part.read(i)))).tobytes() for i in range(len(part))]


def test_pictures_and_classes_are_those_of_the_builder(data_dir):
    options = {"dataset": "tfds/toy_pictures", "data_dir": data_dir, "val_split": "test"}
    data_set = data.load(recipe(**options))
    assert data_set.classes == ("a", "b") and data_set.held_out_is_val
    for part, split in ((data_set.train, "train"), (data_set.val, "test")):
        examples = list(tensorflow_datasets.load("toy_pictures", split=split, data_dir=data_dir).as_numpy_iterator())
        assert pixels(part) == [example["image"].tobytes() for example in examples]
        assert list(part.labels) == [example["label"] for example in examples]
        first = part.reader()(tf.constant(0, tf.int64))
        np.testing.assert_array_equal(tf.io.decode_image(first), examples[0]["image"])


def test_shares_of_splits_and_sums(data_dir):
    data_set = tfds.load("toy_pictures", data_dir, "train[:75%]+test", "train[75%:]")
    whole = tfds.load("toy_pictures", data_dir, "train", "test")
    assert data_set.train.names == whole.train.names[:18] + whole.val.names
    assert data_set.val.names == whole.train.names[18:]
    assert pixels(data_set.train) == pixels(whole.train)[:18] + pixels(whole.val)


def test_the_index_is_kept_and_made_anew_for_other_files(data_dir, monkeypatch):
    whole = tfds.load("toy_pictures", data_dir, "train", "test")
    scanned = []
    monkeypatch.setattr(tfds, "_scan", lambda *arguments: scanned.append(arguments))
    again = tfds.load("toy_pictures", data_dir, "train", "test")
    assert scanned == [] and (again.train.records.offsets == whole.train.records.offsets).all()
    monkeypatch.undo()
    for path in Path(whole.train.records.files[0]).parent.glob("keras_vit-*"):
        path.write_bytes(b"")
    again = tfds.load("toy_pictures", data_dir, "train", "test")
    assert (again.train.records.offsets == whole.train.records.offsets).all()


def test_the_fingerprint_is_of_the_pictures(data_dir):
    splits = ("train", "test"), ("train", "test"), ("train[:75%]", "test"), ("train", "train[75%:]")
    prints = [fingerprint(tfds.load("toy_pictures", data_dir, *split)) for split in splits]
    assert prints[0] == prints[1] and len(set(prints)) == 3


@pytest.mark.parametrize(
    "name, splits, message",
    [
        ("toy_picture", {}, "tensorflow-datasets has no 'toy_picture'.*Closest: .*toy_pictures"),
        ("mnist", {}, r"'mnist' is not prepared at .*builder\('mnist', data_dir=.*download_and_prepare"),
        ("toy_pictures", {}, "val_split='validation' is no split of toy_pictures/1.0.0, which has .*train.* as .*:90%"),
        ("toy_pictures", {"train_split": "train[:x]"}, "train_split='train.:x.' is no split"),
        ("toy_pictures", {"val_split": "hidden"}, "3 of 3 pictures have a class outside 0 ... 1, .*#0 for one, -1"),
        ("no_classes", {}, "not for classification: expected .*ClassLabel.*Its features: image: Image"),
    ],
)
def test_what_is_wrong_is_named(data_dir, name, splits, message):
    with pytest.raises(ValueError, match=message):
        tfds.load(name, data_dir, **splits)
