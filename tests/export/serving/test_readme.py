import pytest

from keras_vit.export.serving import readme

ENDS = {"inputs": {"images": ["float32", [None, 16, 24, 3]]}}
CLASSES = {"n_images": 4, "pictures": "test", "agreement": 1.0, "largest_difference": 1e-7} | {
    "signatures": {
        "predict_images": ENDS | {"outputs": {"probabilities": ["float32", [None, 6]]}},
        "serving_default": {"outputs": {"classes": [], "class_ids": []}},
    }
}
MAPS = {"P2": ["float32", [None, 4, 6, 8]], "P3": ["float32", [None, 2, 3, 16]]}
FEATURES = {
    **{"n_images": 4, "dataset": "noise", "mean_cosine": 1.0, "cosine": 1.0, "relative_difference": 2e-7},
    **{"features": {"P2": {}, "P3": {}}, "limits": {"relative_difference": 1e-4}},
    "signatures": {
        "predict_images": ENDS | {"outputs": MAPS},
        "serving_default": {"outputs": MAPS | {"decoded": ["bool", [None]]}},
    },
}


def test_a_models_line_states_what_it_gives():
    text = readme.values({"maps": {"1": FEATURES, "2": FEATURES}, "toys": {"1": CLASSES}}, "toys")["models"]
    assert text.startswith("- `maps`, versions 1, 2: `P2` (4 x 6 x 8), `P3` (2 x 3 x 16), 16 x 24 pixels. Version 2: ")
    assert "largest difference 2.0e-07 of the standard deviation (at most 1e-04)." in text
    assert "- `toys`, version 1: 6 classes, 16 x 24 pixels." in text


@pytest.mark.parametrize("reports, tables, zeros", [([CLASSES], 1, False), ([FEATURES], 1, True)])
def test_only_what_the_models_have_is_told(reports, tables, zeros):
    found = readme.values({"toys": {"1": reports[0]}}, "toys")
    assert found["signatures"].count("| signature |") == tables
    assert ("the features by name" in found["signatures"]) is zeros is ("`decoded` false" in found["undecoded"])
    assert ("`class_ids` -1" in found["undecoded"]) is not zeros
    assert ("signature_name" in found["call"]) is not zeros
    assert found["answers"] == ""  # `decoded` of features is no mark of several labels


def test_models_of_both_kinds_are_told_apart():
    found = readme.values({"a": {"1": CLASSES}, "b": {"1": FEATURES}}, "b")
    assert found["signatures"].count("| signature |") == 2 and "instead of classes" in found["signatures"]
    assert "`class_ids` -1" in found["undecoded"] and "`decoded` false" in found["undecoded"]
    assert max(map(len, found["undecoded"].splitlines())) <= 120
