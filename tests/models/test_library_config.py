"""The JSON files of transformers and timm: written with labels and preprocessing, and read as the same."""

import json

import pytest

from keras_vit.models import library_config, pvt, vit
from keras_vit.models.config_fields import Architecture
from keras_vit.preprocessing import Spec
from keras_vit.sources.library_folder import open_folder

ARCHITECTURE = Architecture(vit.VIT, vit.Config(24, 1, 3, 8), (40, 40, 3))
LABELS = ("tench, Tinca tinca", "Österreich", "0")
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def written(folder, library, architecture=ARCHITECTURE, **arguments):
    """The folder with the JSON files, opened."""
    for name, entries in library_config.write(library, architecture, **arguments).items():
        (folder / name).write_text(json.dumps(entries))
    return open_folder(folder)


@pytest.mark.parametrize("library", ["transformers", "timm"])
def test_architecture_labels_and_classes_come_back(tmp_path, library):
    opened = written(tmp_path, library, classes=3, labels=LABELS)
    assert library_config.read(opened) == ARCHITECTURE
    assert (opened.labels, opened.classes) == (LABELS, 3)
    assert written(tmp_path, library, classes=None).classes == 0


def test_a_pvt_of_transformers_counts_no_names(tmp_path):
    config = pvt.Config((1, 1), (8, 8), (1, 1), (2, 2), (1, 1), epsilon=1e-5)
    opened = written(tmp_path, "transformers", Architecture(pvt.PVT, config, (32, 32, 3)), classes=3, labels=LABELS)
    assert opened.entries["num_labels"] == 3 and opened.labels == LABELS


@pytest.mark.parametrize(
    "spec",
    [
        Spec((40, 40), MEAN, STD, 1.0, "squash", "bilinear"),
        Spec((40, 48), MEAN, STD, 1.0, "squash"),
        Spec((224, 224), MEAN, STD, 0.875, "squash"),
        Spec((224, 224), MEAN, STD, 0.9, "center"),
        Spec((224, 224), MEAN, STD, 0.95, "center", "bilinear"),
    ],
)
def test_preprocessing_comes_back(tmp_path, spec):
    assert written(tmp_path, "timm", classes=3, spec=spec).spec() == spec
    again = written(tmp_path, "transformers", classes=3, spec=spec).spec()
    sizes = [[int(side / one.crop_pct) for side in one.size] for one in (again, spec)]
    assert sizes[0] == sizes[1] and again.crop_mode == spec.crop_mode and again.interpolation == spec.interpolation
    assert (again.mean, again.std) == (MEAN, STD)


def test_without_a_spec_no_preprocessing_is_stated(tmp_path):
    assert written(tmp_path, "transformers", classes=3).spec() is None


def test_what_cannot_be_written():
    with pytest.raises(ValueError, match="library: expected one of transformers, timm. Received: 'keras'"):
        library_config.write("keras", ARCHITECTURE, 3)
    with pytest.raises(ValueError, match="expected 2 names, one per class. Received: 3"):
        library_config.write("timm", ARCHITECTURE, 2, LABELS)
    with pytest.raises(ValueError, match="square results only"):
        library_config.write("transformers", ARCHITECTURE, 3, spec=Spec((40, 48), MEAN, STD, 0.9))
