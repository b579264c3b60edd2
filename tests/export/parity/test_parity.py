import dataclasses

import numpy as np
import pytest

from keras_vit.export.parity import parity
from keras_vit.preprocessing import normalize
from tests.export import toys


def outputs(*rows):
    return np.array(rows, np.float32)


@pytest.fixture
def two():
    """Two images, three classes, of the true classes 0 and 1."""
    probabilities = outputs([0.7, 0.2, 0.1], [0.5, 0.4, 0.1])
    return parity.Expected(("a", "b"), "test", np.array([0, 1]), None, probabilities)


def test_expected_outputs_are_the_models(toy_source, expected):
    assert expected.kind == "test" and expected.images.shape == (12, *toys.SIZE, 3)
    again = toy_source.model(normalize(expected.images, toy_source.spec))
    np.testing.assert_allclose(expected.probabilities, again, atol=1e-6)


def test_given_images_are_used_instead_of_test_images(toy_source, tmp_path):
    images = [(path, None) for path in toys.write_images(tmp_path, 9, seed=4)]
    expected = parity.expect(toy_source, images, max_images=3)
    assert (expected.kind, expected.classes) == ("given", None)
    assert [path[-6:] for path in expected.files] == ["00.png", "04.png", "08.png"]
    with pytest.raises(ValueError, match="max_images=0"):
        parity.expect(toy_source, max_images=0)


def test_an_unreadable_image_is_named(toy_source, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(ValueError, match=r"bad.png cannot be read as an image: Unknown image file format[^\[{]*$"):
        parity.expect(toy_source, [(tmp_path / "bad.png", None)])
    with pytest.raises(FileNotFoundError, match="absent.png"):
        parity.expect(toy_source, [(tmp_path / "absent.png", None)])


def test_noise_without_images(toy_source, tmp_path):
    source = dataclasses.replace(toy_source, images=())
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir(), second.mkdir()
    one, two = (parity.expect(source, folder=folder) for folder in (first, second))
    assert one.kind == "noise" and len(one.files) == parity.NOISE
    np.testing.assert_array_equal(one.images, two.images)
    assert len({images.tobytes() for images in one.images}) == parity.NOISE


def test_figures(two):
    report = parity.compare(two, outputs([0.7, 0.2, 0.1], [0.4, 0.5, 0.1]))
    assert (report["n_images"], report["agreement"]) == (2, 0.5)
    assert (report["keras_accuracy"], report["accuracy"]) == (0.5, 1.0)
    assert report["largest_difference"] == pytest.approx(0.1)
    unknown = dataclasses.replace(two, classes=None)
    assert "accuracy" not in parity.compare(unknown, two.probabilities)
    assert "accuracy 1.0000 (Keras 0.5000), agreement 50.00 %" in parity.describe(report)


def test_cosine_is_between_logits(two):
    logits = np.log(two.probabilities)
    hotter = np.exp(3 * logits + 7)  # softmax of 3 times the logits
    hotter = hotter / hotter.sum(-1, keepdims=True)
    assert parity.compare(two, hotter)["cosine"] == pytest.approx(1.0)
    backwards = np.exp(-logits) / np.exp(-logits).sum(-1, keepdims=True)
    assert parity.compare(two, backwards)["cosine"] == pytest.approx(-1.0)


def test_a_single_class_is_compared_with_its_complement():
    one = parity.Expected(("a", "b", "c"), "given", None, None, outputs([0.9], [0.4], [0.6]))
    report = parity.compare(one, outputs([0.8], [0.3], [0.4]))
    assert report["agreement"] == pytest.approx(2 / 3)
    assert report["cosine"] == pytest.approx(-1.0)  # the third's logit changed its sign


def test_nan_is_not_close(two):
    assert np.isnan(parity.compare(two, two.probabilities * np.nan)["cosine"])


def test_a_failing_process_reports_its_last_line():
    with pytest.raises(ValueError, match="no luck: ZeroDivisionError"):
        parity.run_python(["-c", "1 / 0"], "no luck")
