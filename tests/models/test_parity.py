"""The published code's outputs on the same weights, loaded through the public API (tests/golden/compare.py)."""

import json
import pathlib

import numpy as np
import pytest
from tests.golden.compare import compare

from keras_vit.zoo import lookup

RECORDS = sorted((pathlib.Path(__file__).parents[1] / "golden" / "records").glob("*.npz"))
LARGE = 30_000_000  # parameters; larger ones run in `make test-all`


def parameters(path):
    return json.loads(str(np.load(path)["meta"]))["parameters"]


def marked(path):
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if parameters(path) > LARGE else [])


@pytest.mark.parametrize("path", [marked(path) for path in RECORDS])
def test_equals_the_published_code(path):
    row = compare(path)
    assert row.parameters == row.reference_parameters
    assert row.largest_difference <= row.tolerance


def test_every_family_has_a_record():
    recorded = {id(lookup(json.loads(str(np.load(path)["meta"]))["name"])[0].family) for path in RECORDS}
    from keras_vit.models import VARIANTS

    assert recorded == {id(variant.family) for variant in VARIANTS.values()}
