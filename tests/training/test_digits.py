import hashlib
import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from keras_vit.training import digits


def test_sizes_and_no_overlap():
    data_set = digits.load()
    parts = data_set.parts()
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 1257,
        "val": 180,
        "held_out": 360,
    }
    names = [name for part in parts.values() for name in part.names]
    assert len(set(names)) == 1797


def test_the_split_is_stratified():
    whole = np.bincount(load_digits().target) / 1797
    for part in digits.load().parts().values():
        assert np.abs(np.bincount(part.labels) - whole * len(part)).max() < 2


def test_the_split_is_the_same_for_ever():
    names = " ".join(digits.load().held_out.names)
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "7da3f7974be18d94"


def test_pictures_are_the_scans():
    scans = load_digits()
    part = digits.load().val
    for name, label, encoded in zip(part.names, part.labels, part.encoded):
        index = int(name.split("/")[1].split(".")[0])
        pixels = np.array(Image.open(io.BytesIO(encoded)))
        assert pixels.shape == (8, 8, 3) and scans.target[index] == label
        assert np.abs(pixels / 255 * 16 - scans.images[index][..., None]).max() <= 16 / 255 / 2
