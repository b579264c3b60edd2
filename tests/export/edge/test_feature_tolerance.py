import numpy as np
import pytest

from keras_vit.export.edge import feature_tolerance, tolerance
from keras_vit.export.parity.features import ExpectedFeatures


def expected(**features):
    images = np.zeros((len(next(iter(features.values()))), 4, 4, 3), "uint8")
    return ExpectedFeatures(("a.png",) * len(images), "given", images, features)


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(50, 64)).astype("float32")


def judged(quantization, reference, **outputs):
    allowed, found = feature_tolerance.limits(quantization, reference), feature_tolerance.figures(reference, outputs)
    return tolerance.within(found, allowed), feature_tolerance.describe(found, allowed)


@pytest.mark.parametrize(
    "quantization, good, bad", [("none", 1e-4, 1e-3), ("float16", 3e-3, 3e-2), ("int8", 0.03, 0.1)]
)
def test_errors_beyond_the_limits_are_refused(vectors, quantization, good, bad):
    noise = np.random.default_rng(1).normal(size=vectors.shape).astype("float32")
    for size, fits in ((good, True), (bad, False)):
        assert judged(quantization, expected(embedding=vectors), embedding=vectors + size * noise)[0] is fits


def test_one_image_far_off_is_refused(vectors):
    wrong = vectors.copy()
    wrong[7] = wrong[7][::-1]
    fits, text = judged("int8", expected(embedding=vectors), embedding=wrong)
    assert not fits and "smallest -0" in text or "smallest 0" in text


def test_the_worst_output_counts(vectors):
    reference = expected(map=vectors.reshape(50, 4, 4, 4), token=vectors)
    found = feature_tolerance.figures(reference, {"map": reference.features["map"], "token": -vectors})
    assert found["cosine"] == pytest.approx(-1) and found["features"]["map"]["cosine"] == pytest.approx(1)
    assert found["features"]["map"]["shape"] == [1, 4, 4, 4]
    assert "the worst of map, token" in feature_tolerance.describe(found, {})


def test_outputs_of_any_size_count_alike_for_the_ranking(vectors):
    signal = feature_tolerance.signal(None, [vectors, 1000 * vectors.reshape(50, 4, 16)])
    assert signal.shape == (50, 128)
    np.testing.assert_allclose(signal[:, :64], signal[:, 64:], rtol=1e-5)
