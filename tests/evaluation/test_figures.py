"""The contents of the figures, and that nothing is cropped."""

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation import figures
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.metrics import confusion
from keras_vit.evaluation.unknown import Separation
from tests.evaluation.toys import LABELS, predictions, random_predictions, several_predictions


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


def test_the_worst_classes_are_on_top_and_those_without_images_left_out(drawn):
    low, other = np.array([0.9, np.nan, 0.2, 0.5]), np.array([0.8, np.nan, 0.4, 0.1])
    figures.save_classes("x.png", ("a", "b", "c", "a name that is far longer than fits"), {"AP": low, "F1": other}, "t")
    (axis,) = drawn[0].axes
    assert [bar.get_width() for bar in axis.patches] == [0.2, 0.5, 0.9]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["c", "a name that is far longer t…", "a"]
    assert axis.lines[0].get_xdata().tolist() == [0.4, 0.1, 0.8] and axis.yaxis_inverted()
    assert "the 3 lowest of 4 classes" in axis.get_title(loc="left")


def test_only_so_many_classes_are_drawn(drawn):
    measure = np.random.default_rng(0).random(100)
    figures.save_classes("x.png", names(100), {"AP": measure, "F1": measure}, "t")
    widths = [bar.get_width() for bar in drawn[0].axes[0].patches]
    assert widths == np.sort(measure)[: figures.WORST].tolist()


def test_scores_of_known_and_unknown_images_are_shares_of_their_kind(drawn):
    found = Separation("energy", 2.5, np.float32([3, 4, 5, 2]), np.float32([1, 2]))
    figures.save_separation("x.png", found, "t")
    (axis,) = drawn[0].axes
    heights = [sum(bar.get_height() for bar in container) for container in axis.containers]
    assert heights == pytest.approx([100, 100]) and axis.lines[0].get_xdata()[0] == 2.5
    assert "100.00 % of 2 unknown images rejected, 75.00 % of 4 known ones kept" in axis.get_title(loc="left")


def test_a_reliability_diagram_of_several_labels_speaks_of_probabilities(drawn):
    figures.save_reliability("x.png", calibration(several_predictions()), "t")
    above, below = drawn[0].axes
    assert above.get_ylabel() == "share that has the class" and below.get_xlabel() == "probability of a class"
    assert "1,400 pairs of image and class" in above.get_title(loc="left")
