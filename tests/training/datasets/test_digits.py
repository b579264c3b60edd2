import hashlib
import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from keras_vit.training.datasets import digits


def test_the_splits_have_fixed_sizes_and_do_not_overlap():
    data_set = digits.load()
    splits = data_set.splits()
    assert {name: len(split) for name, split in splits.items()} == {"train": 1257, "validation": 180, "test": 360}
    names = [name for split in splits.values() for name in split.names]
    assert len(set(names)) == 1797


def test_the_division_is_stratified():
    whole = np.bincount(load_digits().target) / 1797
    for split in digits.load().splits().values():
        assert np.abs(np.bincount(split.labels) - whole * len(split)).max() < 2


def test_the_division_never_changes():
    names = " ".join(digits.load().test.names)
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "7da3f7974be18d94"


def test_images_are_the_scans():
    scans = load_digits()
    split = digits.load().validation
    for name, label, encoded in zip(split.names, split.labels, split.encoded):
        index = int(name.split("/")[1].split(".")[0])
        pixels = np.array(Image.open(io.BytesIO(encoded)))
        assert pixels.shape == (8, 8, 3) and scans.target[index] == label
        assert np.abs(pixels / 255 * 16 - scans.images[index][..., None]).max() <= 16 / 255 / 2
