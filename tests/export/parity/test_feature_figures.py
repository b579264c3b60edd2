import numpy as np
import pytest

from keras_vit.export.parity import feature_figures
from keras_vit.export.parity.features import ExpectedFeatures

DRAW = np.random.default_rng(0)
VECTORS, MAPS = (DRAW.normal(size=shape).astype("float32") for shape in ((5, 8), (5, 2, 3, 4)))
EXPECTED = ExpectedFeatures(("a.png",) * 5, "given", np.zeros((5, 4, 4, 3), "uint8"), {"map": MAPS, "vector": VECTORS})


def test_the_worst_output_counts_in_its_own_deviation():
    off = 1000 * VECTORS
    off[3, 2] += 500 * VECTORS.std()
    large = ExpectedFeatures(EXPECTED.files, "given", EXPECTED.images, {"map": MAPS, "vector": 1000 * VECTORS})
    found = feature_figures.figures(large, {"map": MAPS, "vector": off})
    assert found["relative_difference"] == pytest.approx(0.5, rel=1e-4)
    assert found["features"]["map"]["relative_difference"] == 0 and found["cosine"] < found["mean_cosine"] < 1
    assert found["features"]["map"]["shape"] == [1, 2, 3, 4]


@pytest.mark.parametrize("amount, fits", [(0.9e-4, True), (1.2e-4, False), (np.nan, False)])
def test_what_is_above_the_limit_is_refused(amount, fits):
    report = feature_figures.figures(EXPECTED, {"map": MAPS, "vector": VECTORS + amount * VECTORS.std()})
    report["limits"] = {"relative_difference": feature_figures.SAVED_MODEL}
    if fits:
        feature_figures.require_within("The file", report)
        return
    with pytest.raises(ValueError, match=r"The file gives other features.*not kept.*\(at most 1e-04\)"):
        feature_figures.require_within("The file", report)


def test_features_of_other_names_or_shapes_are_refused():
    feature_figures.check_shapes("file", EXPECTED, {"map": MAPS, "vector": VECTORS, "decoded": np.ones(5, bool)})
    with pytest.raises(ValueError, match=r"map \(2, 3, 4\), vector \(8,\). It gives map \(2, 3, 4\), vector \(7,\)"):
        feature_figures.check_shapes("file", EXPECTED, {"map": MAPS, "vector": VECTORS[:, :7]})
    with pytest.raises(ValueError, match="It gives probabilities"):
        feature_figures.check_shapes("file", EXPECTED, {"probabilities": VECTORS})
