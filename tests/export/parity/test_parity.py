import dataclasses

import numpy as np
import pytest

from keras_vit.export.parity import parity
from keras_vit.export.parity.images import NOISE
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
    with pytest.raises(ValueError, match="bad.png cannot be read as an image"):
        parity.expect(toy_source, [(tmp_path / "bad.png", None)])
    with pytest.raises(FileNotFoundError, match="absent.png"):
        parity.expect(toy_source, [(tmp_path / "absent.png", None)])


def test_noise_without_images(toy_source, tmp_path):
    source = dataclasses.replace(toy_source, images=())
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir(), second.mkdir()
    one, two = (parity.expect(source, folder=folder) for folder in (first, second))
    assert one.kind == "noise" and len(one.files) == NOISE
    np.testing.assert_array_equal(one.images, two.images)
    assert len({images.tobytes() for images in one.images}) == NOISE


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


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_in_half_precision_is_held_to_its_copy(toy_source, policy):
    half = toys.toy_model(dtype=policy)
    source = dataclasses.replace(toy_source, loaded=half)
    found, exact = parity.expect(source), parity.expect(toy_source)
    np.testing.assert_allclose(found.probabilities, exact.probabilities, atol=1e-6)
    other = toys.toy_model(dtype=policy)
    other.get_layer("head").kernel.assign(-other.get_layer("head").kernel)
    with pytest.raises(ValueError, match="its copy in float32, which is exported, does not give what the model gives"):
        parity.expect(dataclasses.replace(toy_source, loaded=other))


def test_the_reference_shares_nothing_with_the_exporter(toy_source, expected, monkeypatch):
    """It stays what it is when the exporter's graph, copy and decoder are wrong."""
    wrong = dataclasses.replace(toy_source, model=None, loaded=toy_source.model, input_values="normalized")
    monkeypatch.setattr("keras_vit.preprocessing.decoding.decode_image", None)
    monkeypatch.setattr("keras_vit.export.model.inference.probabilities", None)
    images = np.stack([parity.reference(wrong).prepare(file) for file in expected.files])
    found = parity.reference(wrong).predict_prepared(list(images))
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-6)


@pytest.fixture
def some_refused(served_outputs):
    """The outputs of a SavedModel that cannot decode the images of these numbers."""

    def of(numbers):
        outputs = {key: np.array(value) for key, value in served_outputs.items()}
        outputs["classes"], outputs["class_ids"][numbers] = (outputs["classes"].astype("U9"), -1)
        outputs["classes"][numbers], outputs["scores"][numbers], outputs["embedding"][numbers] = ("", 0, 0)
        return outputs

    return of


def test_images_that_the_graph_refuses_are_counted_and_left_out(some_refused, expected, toy_source):
    report = parity.check_saved_model(some_refused([2, 5]), expected, toy_source)
    assert report["refused"] == ["02.png", "05.jpg"] and report["n_images"] == 12
    line = "2 of 12 images are of kinds that the served graph refuses: 02.png, 05.jpg"
    assert parity.describe(report).endswith(line)
    assert parity.describe(parity.check_saved_model(some_refused([3]), expected, toy_source)).endswith(
        "1 of 12 images is of a kind that the served graph refuses: 03.jpg"
    )
    assert "refused" not in parity.check_saved_model(some_refused([]), expected, toy_source)
    with pytest.raises(ValueError, match="cannot decode any of the 12 images: 00.png, .*04.png, ...."):
        parity.check_saved_model(some_refused(range(12)), expected, toy_source)


@pytest.mark.parametrize("key", ["scores", "probabilities", "embedding"])
def test_a_difference_on_the_others_is_an_error(some_refused, expected, toy_source, key):
    outputs = some_refused([2])
    outputs[key][7] += 0.01
    with pytest.raises(ValueError, match="differ from the Keras model's"):
        parity.check_saved_model(outputs, expected, toy_source)


def test_other_names_are_an_error(some_refused, expected, toy_source):
    outputs = some_refused([])
    outputs["classes"][7] = "seven"
    with pytest.raises(ValueError, match="wrong names, not those of labels.txt, for .*07.jpg first"):
        parity.check_saved_model(outputs, expected, toy_source)


def test_a_run_that_lost_its_accuracy_says_so(toy_source, expected):
    assert expected.warnings == ()
    source = dataclasses.replace(toy_source, accuracy=0.99, images=2 * toy_source.images)
    assert parity.expect(source).warnings == ()  # 11 of 12 are right
    wrong = [(path, (label + 1) % 6) for path, label in source.images]
    report = parity.compare(
        lost := parity.expect(dataclasses.replace(source, images=tuple(wrong))), expected.probabilities.repeat(2, 0)
    )
    assert [text for text in lost.warnings if "its run had 99.00 %" in text]
    assert report["warnings"] == list(lost.warnings) and "WARNING: an accuracy of" in parity.describe(report)
    given = parity.expect(source, wrong)
    assert not [text for text in given.warnings if "its run had" in text]
