"""Models that transformers, its TensorFlow classes and timm made and recorded, as this library reads them.

tests/golden/libraries.zip has them, packed by `golden.py`. `make test-libraries` makes others, from new configurations.
"""

import logging
import zipfile

import pytest

from tests.libraries.golden import CASES, GOLDEN
from tests.libraries.reading import compare

QUICK = (  # one of each library's ways to write; the others are slow
    *("ViTModel", "SwinForImageClassification", "PvtForImageClassification"),
    *("Dinov2WithRegistersForImageClassification", "vit_tiny_patch16_224"),
    "TFConvNextForImageClassification",
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("libraries")
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1:UserWarning")  # of one key, in Keras
def test_outputs_labels_and_preprocessing_are_the_librarys(cases, case, caplog):
    with caplog.at_level(logging.WARNING, "keras_vit"):
        found = compare(cases / case)
    assert found.passed, found
    ours = [record.getMessage() for record in caplog.records if record.name == "keras_vit"]
    assert not ours  # nothing resampled, no other head
