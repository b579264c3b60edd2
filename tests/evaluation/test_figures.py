"""The contents of the figures, and that nothing is cropped."""

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation import figures
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.metrics import confusion
from tests.evaluation.toys import LABELS, predictions, random_predictions


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved."""
    kept = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: kept.append(figure))
    return kept


def names(count):
    return tuple(f"class with a name {number}" for number in range(count))


def texts(axis):
    return [text.get_text() for text in axis.texts]


@pytest.mark.parametrize("classes", [1, 2, 12, 31, 130])
def test_nothing_is_cut(tmp_path, classes):
    found = random_predictions(4 * classes, names(classes))
    figures.save_confusion(tmp_path / "c.png", found, "a title that is longer than two classes are wide")
    figures.save_reliability(tmp_path / "r.png", calibration(found), "title")
    for name in ("c.png", "r.png"):
        pixels = np.asarray(Image.open(tmp_path / name).convert("L"))
        inside = pixels[20:-20, 20:-20].copy()
        assert pixels.sum() - inside.sum() == 255 * (pixels.size - inside.size)  # an empty frame around all of it
        assert inside.min() < 100 and max(pixels.shape) < 4000


def test_matrix_against_counting():
    found = random_predictions(300, LABELS)
    kept = np.flatnonzero(np.isin(found.labels, (1, 2, 5)))
    found = predictions(found.labels[kept], np.eye(7)[found.best[kept, 0]], k=1)
    counts = figures.matrix(confusion(found), np.array([1, 2, 5]), 1)
    expected = np.zeros((3, 4), int)
    for label, best in zip(found.labels, found.best[:, 0]):
        expected[(1, 2, 5).index(label), (1, 2, 5).index(best) if best in (1, 2, 5) else 3] += 1
    np.testing.assert_array_equal(counts, expected)
    pairs = figures.matrix(confusion(found), np.array([1, 2, 5]), 2)
    np.testing.assert_array_equal(pairs, np.add.reduceat(np.add.reduceat(expected, [0, 2]), [0, 2, 3], axis=1))


def test_few_classes_have_names_and_counts(drawn):
    found = predictions([0, 0, 0, 2, 2], np.eye(4)[[0, 0, 1, 2, 0]], ("ant", "bee", "猫", "$a$ and $b$"), k=1)
    figures.save_confusion("c.png", found, "数字: title")
    axis, bar = drawn[0].axes
    assert sorted(texts(axis)) == ["1", "1", "1", "2"] and axis.get_title("left") == "??: title"
    assert [text.get_text() for text in axis.get_yticklabels()] == ["ant", "class 2"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["ant", "class 2", "others"]
    assert texts(bar) == ["2 mistakes\n\n1 of 3  ant → bee\n1 of 2  class 2 → ant"]


def test_many_classes_have_numbers_and_a_logarithmic_scale(drawn):
    found = random_predictions(2000, names(200))
    figures.save_confusion("c.png", found, "title")
    axis, bar = drawn[0].axes
    dots = axis.collections[0]
    assert len(dots.get_offsets()) == len(confusion(found)) and type(dots.norm).__name__ == "LogNorm"
    assert [text.get_text() for text in axis.get_xticklabels()][:3] == ["0", "20", "40"]
    (listed,) = texts(bar)
    lines = listed.splitlines()
    assert lines[0] == f"{(found.labels != found.best[:, 0]).sum():,} mistakes"
    times = [int(line.split()[0]) for line in lines[2:-1]]
    assert 0 < len(times) <= 30 and times == sorted(times, reverse=True) and times[-1] > 1
    assert lines[-1].endswith("other pairs of classes")


def test_predictions_of_classes_without_images_share_a_column_at_any_size(drawn):
    found = random_predictions(2000, names(200))
    few = predictions(found.labels[:150], np.eye(200)[found.best[:150, 0]], names(200), k=1)
    figures.save_confusion("c.png", few, "title")
    axis = drawn[0].axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()][-2:] == ["140", "others"]
    assert axis.get_xlim()[1] == 150.5 and axis.get_ylim()[0] == 149.5


def test_long_names_are_shortened_and_no_formula_is_read():
    assert figures.short_name("x" * 28, 0) == "x" * 28 and figures.short_name("x" * 29, 0) == "x" * 27 + "…"


def test_bars_of_the_reliability_diagram(drawn):
    found = predictions([0, 0, 1, 1], [[0.9, 0.1], [0.92, 0.08], [0.85, 0.15], [0.45, 0.55]], "ab", k=2)
    figures.save_reliability("r.png", calibration(found, 10), "title")
    axis, below = drawn[0].axes
    bars = {round(bar.get_x(), 2): bar.get_height() for bar in axis.patches}
    assert bars == pytest.approx({0.5: 1, 0.8: 0.5, 0.9: 1})
    assert [bar.get_height() for bar in below.patches] == [25, 50, 25] and texts(below) == ["1", "2", "1"]
    assert "accuracy 75.00 %, mean confidence 80.50 %, 4 images" in axis.get_title("left")
