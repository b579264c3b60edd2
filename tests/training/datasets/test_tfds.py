import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets
from PIL import Image

from keras_vit.training.datasets import tfds
from keras_vit.training.datasets.splits import fingerprint

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 9, 8, 3), "uint8")


class ToyImages(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Thirty images of two classes, in two splits; and three without a class."""

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


class NoClasses(ToyImages):
    """Images without classes."""

    def _info(self):
        features = tensorflow_datasets.features.FeaturesDict({"image": tensorflow_datasets.features.Image()})
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
        return {"train": [(0, {"image": PIXELS[0]})]}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    for builder in (ToyImages, NoClasses):
        config = tensorflow_datasets.download.DownloadConfig(num_shards=3 if builder is ToyImages else 1)
        builder(data_dir=folder).download_and_prepare(download_config=config)
    return folder


def pixels(split):
    """Of every image, as bytes."""
    return [np.array(Image.open(io.BytesIO(split.read(i)))).tobytes() for i in range(len(split))]


def test_images_and_classes_are_those_of_the_builder(data_dir):
    data_set = tfds.load("toy_images", data_dir, val_split="test")
    assert data_set.classes == ("a", "b") and data_set.test_is_validation
    for split, name in ((data_set.train, "train"), (data_set.validation, "test")):
        examples = list(tensorflow_datasets.load("toy_images", split=name, data_dir=data_dir).as_numpy_iterator())
        assert pixels(split) == [example["image"].tobytes() for example in examples]
        assert list(split.labels) == [example["label"] for example in examples]
        first = split.reader()(tf.constant(0, tf.int64))
        np.testing.assert_array_equal(tf.io.decode_image(first), examples[0]["image"])


def test_fractions_and_sums_of_splits_are_taken(data_dir):
    data_set = tfds.load("toy_images", data_dir, "train[:75%]+test", "train[75%:]")
    whole = tfds.load("toy_images", data_dir, "train", "test")
    assert data_set.train.names == whole.train.names[:18] + whole.validation.names
    assert data_set.validation.names == whole.train.names[18:]
    assert pixels(data_set.train) == pixels(whole.train)[:18] + pixels(whole.validation)


def test_the_index_is_reused(data_dir, tmp_path):
    """Files of the same size without a single record are not read again."""
    shutil.copytree(data_dir, tmp_path / "copy")
    whole = tfds.load("toy_images", tmp_path / "copy", "train", "test")
    for file in whole.train.records.files:
        Path(file).write_bytes(bytes(Path(file).stat().st_size))
    again = tfds.load("toy_images", tmp_path / "copy", "train", "test")
    np.testing.assert_array_equal(again.train.records.offsets, whole.train.records.offsets)


def test_the_index_is_made_again_if_it_is_damaged_or_the_files_have_changed(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "copy")
    whole = tfds.load("toy_images", tmp_path / "copy", "train", "test")
    folder = Path(whole.train.records.files[0]).parent
    indices = sorted(folder.glob("keras_vit-*"))
    for path in indices:
        path.write_bytes(b"")
    again = tfds.load("toy_images", tmp_path / "copy", "train", "test")
    np.testing.assert_array_equal(again.train.records.offsets, whole.train.records.offsets)
    times = [path.stat().st_mtime_ns for path in indices]
    with open(whole.train.records.files[-1], "ab") as file:
        file.write(tf.io.read_file(whole.train.records.files[0]).numpy())
    tfds.load("toy_images", tmp_path / "copy", "train", "test")
    assert sum(path.stat().st_mtime_ns != time for path, time in zip(indices, times)) == 1


def test_the_fingerprint_depends_on_the_images(data_dir):
    splits = ("train", "test"), ("train", "test"), ("train[:75%]", "test"), ("train", "train[75%:]")
    prints = [fingerprint(tfds.load("toy_images", data_dir, *split)) for split in splits]
    assert prints[0] == prints[1] and len(set(prints)) == 3


@pytest.mark.parametrize(
    "name, splits, message",
    [
        ("toy_image", {}, "tensorflow-datasets has no 'toy_image'.*Closest: .*toy_images"),
        ("mnist", {}, r"'mnist' is not prepared at .*builder\('mnist', data_dir=.*download_and_prepare"),
        ("toy_images", {}, "val_split='validation' is no split of toy_images/1.0.0, which has .*train.* as .*:90%"),
        ("toy_images", {"train_split": "train[:x]"}, "train_split='train.:x.' is no split"),
        (
            "toy_images",
            {"val_split": "hidden"},
            "3 of 3 images have a class outside 0 ... 1, the first .*#0 with class -1",
        ),
        ("no_classes", {}, "not for classification: expected .*ClassLabel.*Its features: image: Image"),
    ],
)
def test_errors_name_what_is_wrong_with_a_data_set(data_dir, name, splits, message):
    with pytest.raises(ValueError, match=message):
        tfds.load(name, data_dir, **splits)


class SeveralLabels(ToyImages):
    """Images with several of three classes, written in every form; image 5 of the second split has a wrong number."""

    def _info(self):
        from tensorflow_datasets import features as of

        features = of.FeaturesDict(
            {
                "image": of.Image(),
                "numbers": of.Sequence(of.ClassLabel(names=["a", "b", "c"])),
                "hot": of.Tensor(shape=(3,), dtype=np.uint8),
                "flags": {"a": np.bool_, "b": np.bool_, "c": np.bool_},
                "box": of.BBoxFeature(),
            }
        )
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=features)

    def _generate_examples(self, start, stop):
        for i in range(start, stop):
            hot = several(i)
            yield i, {
                "image": PIXELS[i],
                "numbers": np.flatnonzero(hot).tolist(),
                "hot": hot if i != 29 else [0, 1, 2],
                "flags": dict(zip("abc", map(bool, hot))),
                "box": tensorflow_datasets.features.BBox(0.0, 0.0, 1.0, 1.0),
            }

    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 24), "test": self._generate_examples(24, 30)}


def several(i):
    """0 or 1 for each of three classes; one of eight images has none."""
    return [i >> bit & 1 for bit in range(3)]


@pytest.fixture(scope="module")
def several_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    SeveralLabels(data_dir=folder).download_and_prepare()
    return folder


@pytest.mark.parametrize("key, names", [("numbers", "abc"), ("flags", "abc"), ("hot", "012")])
def test_several_labels_are_read_in_every_form(several_dir, key, names):
    data_set = tfds.load("several_labels", several_dir, val_split="train[:50%]", target_key=key)
    assert data_set.classes == tuple(names) and data_set.multi_label and data_set.train.labels.dtype == "uint8"
    found = {image: row for image, row in zip(pixels(data_set.train), data_set.train.labels.tolist())}
    assert found == {PIXELS[i].tobytes(): several(i) for i in range(24)}
    again = tfds.load("several_labels", several_dir, val_split="train[:50%]", target_key=key)  # from the index
    np.testing.assert_array_equal(again.train.labels, data_set.train.labels)


def test_which_feature_has_the_labels_must_be_clear(several_dir):
    with pytest.raises(ValueError, match="Choose by target_key: numbers, hot, flags|flags, hot, numbers"):
        tfds.load("several_labels", several_dir, val_split="test")
    with pytest.raises(ValueError, match="Its features: .*box: BBoxFeature.* Received: target_key='box'; possible: "):
        tfds.load("several_labels", several_dir, val_split="test", target_key="box")


def test_a_value_that_is_neither_0_nor_1_is_refused(several_dir):
    with pytest.raises(ValueError, match="val_split='test': 1 of 6 images have a class outside 0 ... 2, the first "):
        tfds.load("several_labels", several_dir, val_split="test", target_key="hot")


def test_images_are_read_with_classes_or_without(data_dir):
    hidden = tfds.images("toy_images", data_dir, "hidden")
    assert len(hidden) == 3 and len(set(hidden.names)) == 3
    np.testing.assert_array_equal(Image.open(io.BytesIO(hidden.records.read(2))), PIXELS[0])
    assert len(tfds.images("no_classes", data_dir)) == 1
    assert len(tfds.images("toy_images", data_dir)) == 33
    assert len(tfds.images("toy_images", data_dir, "test[:2]")) == 2
    with pytest.raises(ValueError, match="split='val' is no split of toy_images"):
        tfds.images("toy_images", data_dir, "val")
