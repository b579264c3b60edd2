"""Folders of transformers and timm by their JSON files: whose they are, labels, weights' files, and bad ones."""

import json
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_vit
from keras_vit.cli.main import main
from keras_vit.preprocessing import Spec
from keras_vit.sources.hub import LIBRARY_WEIGHTS
from keras_vit.sources.library_folder import is_library_folder, open_folder, read_json
from keras_vit.sources.resolve import at_path, resolve, resolve_spec
from tests.libraries.golden import GOLDEN

VIT = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}
TIMM = {"architecture": "vit_tiny_patch16_224", "num_classes": 2, "label_names": ["cat", "dog"]}


def folder(path, entries, weights="model.safetensors", **files):
    """A folder with a config.json and, but for None, a file of weights."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(entries) if isinstance(entries, dict) else entries)
    if weights:
        save_file({"a": np.zeros((2, 3), "float32")}, path / weights)
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "entries, library, name",
    [
        (VIT, "transformers", "ViTForImageClassification"),
        ({"model_type": "vit"}, "transformers", "vit"),
        ({"architectures": ["TFViTModel"]}, "transformers", "ViTModel"),
        (TIMM, "timm", "vit_tiny_patch16_224"),
    ],
)
def test_config_json_tells_whose_a_folder_is(tmp_path, entries, library, name):
    opened = open_folder(folder(tmp_path / "a", entries))
    assert (opened.library, opened.name) == (library, name)
    found = at_path(tmp_path / "a")
    assert (found.kind, found.name, found.folder) == ("library", "a", tmp_path / "a")
    assert found.input_values() == "normalized" and resolve(tmp_path / "a") == found


def test_other_folders_with_a_config_json_are_none(tmp_path):
    assert not is_library_folder(tmp_path) and not is_library_folder(tmp_path / "nowhere")
    assert not is_library_folder(folder(tmp_path / "a", {"seed": 1}))
    assert not is_library_folder(folder(tmp_path / "b", "not JSON", weights=None)) and at_path(tmp_path / "b") is None
    with pytest.raises(ValueError, match="names no model.*model_type.*It has: seed"):
        open_folder(tmp_path / "a")
    with pytest.raises(ValueError, match="has no config.json"):
        open_folder(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", "\xff", '{"a":' + "[" * 200, '{"a": ' + "1" * 3000 + "}"])
def test_a_damaged_config_json_beside_weights_is_named(tmp_path, text):
    with pytest.raises(ValueError, match="config.json"):
        at_path(folder(tmp_path / "a", text))


def test_a_config_json_beyond_the_limit_is_not_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b" " * (2**22 + 1))
    with pytest.raises(ValueError, match="MAX_CONFIG"):
        read_json(path)


@pytest.mark.parametrize(
    "entries, labels, classes",
    [
        (VIT, ("cat", "dog"), 2),
        (VIT | {"id2label": {str(k): f"c{k}" for k in (10, 2, 1, 0, 9, 8, 7, 6, 5, 4, 3)}}, None, 11),
        ({"architectures": ["ViTForImageClassification"], "model_type": "vit"}, ("LABEL_0", "LABEL_1"), 2),
        (VIT | {"id2label": None, "num_labels": 3}, None, 3),
        (VIT | {"architectures": ["ViTModel"]}, None, 0),
        (TIMM, ("cat", "dog"), 2),
        (TIMM | {"label_names": {"1": "dog", "0": "cat"}}, ("cat", "dog"), 2),
        (TIMM | {"label_names": None}, None, 2),
        (TIMM | {"num_classes": 0, "label_names": None}, None, 0),
    ],
)
def test_labels_are_in_the_order_of_the_outputs(tmp_path, entries, labels, classes):
    opened = open_folder(folder(tmp_path / "a", entries))
    if classes == 11:
        labels = tuple(f"c{k}" for k in range(11))
    assert (opened.labels, opened.classes) == (labels, classes)
    assert resolve(tmp_path / "a").labels() == labels


def test_a_thousand_classes_of_timm_without_names_are_imagenets(tmp_path):
    opened = open_folder(folder(tmp_path / "a", {"architecture": "vit_tiny_patch16_224", "num_classes": 1000}))
    assert opened.labels[0] == "tench" and len(opened.labels) == 1000


@pytest.mark.parametrize(
    "change, word",
    [
        ({"id2label": {"0": "a", "2": "b"}}, "none of them for 1"),
        ({"id2label": {"1": "a"}}, "none of them for 0"),
        ({"id2label": ["a"]}, "id2label"),
        ({"id2label": {}}, "id2label"),
        ({"id2label": {"0": None}}, "a text for every class"),
        ({"id2label": None, "num_labels": -1}, "num_labels"),
    ],
)
def test_labels_that_are_none_name_the_field(tmp_path, change, word):
    opened = open_folder(folder(tmp_path / "a", VIT | change))
    with pytest.raises(ValueError, match=rf"config.json.*{word}"):
        opened.labels, opened.classes


def test_the_first_of_the_known_files_has_the_weights(tmp_path):
    path = folder(tmp_path / "a", VIT, weights=None)
    (path / "flax_model.msgpack").write_bytes(b"")
    with pytest.raises(ValueError, match="no weights.*model.safetensors.*It has flax_model.msgpack, which is not read"):
        open_folder(path).weights
    for name in reversed(LIBRARY_WEIGHTS):
        (path / name).write_bytes(b"")
        assert open_folder(path).weights == path / name


def test_its_preprocessing_is_a_sources(tmp_path):
    size = {"height": 8, "width": 8}
    path = folder(tmp_path / "a", VIT, preprocessor_config={"size": size, "resample": 3, "image_mean": [0.5] * 3})
    expected = Spec((8, 8), (0.5,) * 3, (0.5,) * 3, crop_mode="squash")
    assert resolve(path).spec() == expected == resolve_spec(path)
    assert resolve(path / "model.safetensors", ("weights",)).spec() == expected
    assert open_folder(folder(tmp_path / "b", VIT)).spec() is None
    with pytest.raises(ValueError, match="does not state how its images are prepared"):
        resolve_spec(tmp_path / "b")
    own = Spec((9, 9), (0.1,) * 3, (0.2,) * 3)
    own.save(path / "preprocessing.json")  # a user's word stands above the folder's
    assert resolve(path).spec() == own


def test_info_tells_what_the_folder_says(tmp_path, capsys):
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(tmp_path, [n for n in archive.namelist() if n.startswith("DeiTForImageClassification/")])
    path = tmp_path / "DeiTForImageClassification" / "model"
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "DeiTForImageClassification of transformers" in out and "numbers" in out and "pixels, " in out
    found = keras_vit.info(str(path))
    assert found.labels[0] in out and found.classes == len(found.labels)
    folder(tmp_path / "b", VIT, preprocessor_config={"resample": 0})
    assert "nearest" in str(keras_vit.info(tmp_path / "b"))  # why there is no preprocessing
    assert main(["info", str(tmp_path)]) == 1
    assert "config.json" in capsys.readouterr().err
