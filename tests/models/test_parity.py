"""The published code's outputs on the same weights, loaded through the public API (tests/golden/compare.py)."""

import json

import numpy as np
import pytest

from keras_vit.models import VARIANTS
from keras_vit.sources.registry import lookup
from tests.golden.compare import RECORDS, compare

SMALL = 10_000_000  # parameters; beyond, only the smallest of each family runs in `make test`


def recorded():
    """(parameters, path, family) of each record."""
    for path in sorted(RECORDS.glob("*.npz")):
        meta = json.loads(str(np.load(path)["meta"]))
        yield meta["parameters"], path, VARIANTS[lookup(meta["name"])[0].name].family


def marked(records):
    """The records as parameters of a test, the slow ones marked."""
    records = list(records)
    smallest = {id(family): path for _, path, family in sorted(records, key=lambda record: record[0], reverse=True)}
    quick = {*smallest.values(), *(path for count, path, _ in records if count <= SMALL)}
    slow = [pytest.mark.slow]
    return [pytest.param(path, id=path.stem, marks=[] if path in quick else slow) for _, path, _ in records]


@pytest.mark.parametrize("path", marked(recorded()))
def test_equals_the_published_code(path):
    row = compare(path)
    assert row.parameters == row.reference_parameters
    assert row.largest_difference <= row.tolerance


def test_every_family_has_a_record():
    assert {id(family) for _, _, family in recorded()} == {id(variant.family) for variant in VARIANTS.values()}
