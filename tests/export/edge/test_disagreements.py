import dataclasses

import numpy as np
import pytest
from PIL import Image

from keras_vit.export.edge import disagreements
from keras_vit.export.parity.parity import Expected

OURS = np.float32([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05], [0.2, 0.3, 0.5]])
THEIRS = np.float32([[0.4, 0.5, 0.1], [0.1, 0.1, 0.8], [0.2, 0.3, 0.5]])


@pytest.fixture
def three():
    images = np.random.default_rng(0).integers(0, 256, (3, 10, 20, 3), np.uint8)
    return Expected(("a", "b", "c"), "test", None, images, OURS)


def test_the_largest_margins_come_first(three):
    assert disagreements.worst(three, THEIRS) == [(1, 0, 2), (0, 0, 1)]
    assert disagreements.worst(three, OURS) == []


def test_the_sheet_shows_each(three, tmp_path):
    path = tmp_path / "sheet.png"
    labels = ("zero", "a name of very many letters", "漢字")
    assert disagreements.save(path, three, labels, {"int8": THEIRS, "float16": OURS})
    sheet = Image.open(path)
    side = disagreements.SIDE
    assert sheet.size == (2 * (side + 8), side + disagreements.TEXT)
    first = np.asarray(sheet)[: 10 * (side // 20) : side // 20, 4 : 4 + 20 * (side // 20) : side // 20]
    np.testing.assert_array_equal(first, three.images[1])


def test_no_sheet_where_all_agree(three, tmp_path):
    path = tmp_path / "sheet.png"
    assert not disagreements.save(path, three, ("a", "b", "c"), {"int8": OURS}) and not path.exists()


def test_of_several_labels_those_of_one_of_both_are_shown(three, tmp_path):
    several = dataclasses.replace(three, thresholds=np.float32([0.45, 0.35, 0.5]))
    theirs = np.float32([[0.5, 0.3, 0.1], [0.1, 0.5, 0.05], [0.2, 0.3, 0.5]])
    assert disagreements.worst(several, theirs) == [(1, (0,), (1,)), (0, (1,), ())]
    assert disagreements.save(tmp_path / "sheet.png", several, ("a", "b", "c"), {"int8": theirs})
    assert not disagreements.save(tmp_path / "sheet.png", several, ("a", "b", "c"), {"int8": OURS})
