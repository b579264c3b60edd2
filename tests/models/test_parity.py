"""The published code's outputs on the same weights, loaded through the public API (tests/golden/compare.py)."""

import json
import math

import numpy as np
import pytest

from keras_vit.models import VARIANTS
from keras_vit.sources.registry import lookup
from tests.golden.compare import RECORDS, compare


def recorded():
    """(parameters times pixels, path, model's family, whether the image size is the native one) of each record."""
    for path in sorted(RECORDS.glob("*.npz")):
        meta = json.loads(str(np.load(path)["meta"]))
        variant, size = VARIANTS[lookup(meta["name"])[0].name], tuple(meta["image_size"])
        yield meta["parameters"] * math.prod(size), path, variant.family, size == variant.image_size


def marked(records):
    """The records as parameters of a test; slow but for the cheapest per family, and per paper of another size."""
    records, quick = list(records), {}
    for _, path, family, native in sorted(records, key=lambda record: record[0], reverse=True):
        quick[id(family)] = path
        quick |= {} if native else {family.paper: path}
    slow = [pytest.mark.slow]
    return [pytest.param(path, id=path.stem, marks=[] if path in quick.values() else slow) for _, path, *_ in records]


@pytest.mark.parametrize("path", marked(recorded()))
def test_equals_the_published_code(path):
    row = compare(path)
    assert row.parameters == row.reference_parameters
    assert row.largest_difference <= row.tolerance


def test_every_family_has_a_record():
    assert {id(family) for _, _, family, _ in recorded()} == {id(variant.family) for variant in VARIANTS.values()}
