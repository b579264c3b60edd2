import csv
import gzip

import numpy as np
import pytest
from PIL import Image

from examples import fashion_mnist

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28)).astype("uint8")
LABELS = np.arange(40, dtype="uint8") % 10


@pytest.fixture
def source(tmp_path):
    """A folder with files of the published form, of 40 images each."""
    folder = tmp_path / "source"
    folder.mkdir()
    for prefix in fashion_mnist.PREFIXES.values():
        for name, values in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
            head = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">i4").tobytes()
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return folder


def test_images_and_labels_are_read(source):
    images, labels = fashion_mnist.read(source, "test")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_missing_and_other_files_are_named(source):
    path = source / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\x03short"))
    with pytest.raises(ValueError, match=f"{path} is no IDX file"):
        fashion_mnist.read(source, "train")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="Install dataset-fashion-mnist, or give --source"):
        fashion_mnist.read(source, "train")


def test_classes_are_thinned_geometrically():
    counts = fashion_mnist.thinned(2000, 0.01)
    assert (counts[0], counts[-1]) == (2000, 20)
    np.testing.assert_allclose(np.array(counts[1:]) / counts[:-1], 0.01 ** (1 / 9), rtol=0.02)


def test_folders_hold_the_first_images_of_every_class(source, tmp_path):
    fashion_mnist.write_folders(source, tmp_path / "data", 30, rarest=1 / 3)
    train = {
        folder.name: sorted(path.name for path in folder.iterdir()) for folder in (tmp_path / "data/train").iterdir()
    }
    assert train["t-shirt"] == ["00000.png", "00010.png", "00020.png"] and train["boot"] == ["00009.png"]
    assert len(list((tmp_path / "data/test").rglob("*.png"))) == 40
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "data/train/boot/00009.png")), IMAGES[9])


def test_pairs_have_the_labels_of_both_images(source, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "PAIRS_IN_TEST", 5)
    fashion_mnist.write_pairs(source, tmp_path / "pairs", 8)
    with (tmp_path / "pairs/pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train"] * 8 + ["test"] * 5
    halves = {image.tobytes(): fashion_mnist.CLASSES[label] for image, label in zip(IMAGES, LABELS)}
    for row in rows:
        pair = np.asarray(Image.open(tmp_path / "pairs" / row["path"]))
        assert row["label"].split("|") == list(dict.fromkeys(halves[h.tobytes()] for h in (pair[:, :28], pair[:, 28:])))
