import numpy as np
import pytest
from PIL import Image

from keras_vit.training.run import figures


def history(epochs=5):
    names = ("train_loss", "eval_loss", "train_top1", "eval_top1")
    return [{"epoch": e} | {name: 10.0 * e for name in names} for e in range(epochs)]


def test_curves_are_drawn(tmp_path):
    path = figures.save_curves(tmp_path, history(), history()[1], "Toy")
    with Image.open(path) as image:
        assert path.name == "curves.png" and image.size == (1200, 504)
        assert np.array(image.convert("L")).std() > 5


def sheet(tmp_path, predictions, labels, shown=10):
    seen = []

    def read(index):
        seen.append(int(index))
        return np.full((8, 8, 3), 9 * index, "uint8")

    classes = [f"class {i}" for i in range(4)]
    path = figures.save_sheet(tmp_path, read, labels, predictions, classes, "Toy", shown)
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int), seen


def vermilion(image):
    return (np.abs(image - [0xD5, 0x5E, 0x00]).sum(-1) < 12).sum()


def test_mistakes_come_first_and_are_framed(tmp_path):
    labels = np.arange(20) % 4
    predictions = labels.copy()
    predictions[[3, 17]] = [0, 2]
    image, seen = sheet(tmp_path, predictions, labels)
    assert seen[:2] == [3, 17] and len(seen) == 10 and len(set(seen)) == 10
    clean, _ = sheet(tmp_path, labels, labels)
    assert vermilion(image) > 1000 and vermilion(clean) == 0


def test_all_mistakes_are_shown(tmp_path):
    _, seen = sheet(tmp_path, np.zeros(30, int), np.ones(30, int))
    assert seen == list(range(30))


def test_a_sheet_may_have_a_single_image(tmp_path):
    assert sheet(tmp_path, [1], [1])[1] == [0]


@pytest.mark.parametrize("count, rows", [(1, 1), (8, 1), (9, 2)])
def test_a_batch_is_drawn_with_eight_images_a_row(tmp_path, count, rows):
    images = np.full((count, 8, 8, 3), 90, "uint8")
    path = figures.save_batch(tmp_path, "batch.png", images, ["0.7 cat, 0.3 dog"] * count, "Toy")
    with Image.open(path) as image:
        assert image.size == (round(1.6 * min(count, 8) * 120), round((1.8 * rows + 0.6) * 120))
