"""The served versions follow those on the disk."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_vit.export.devserver.rest import RestError
from keras_vit.export.devserver.servables import Servables


@pytest.fixture
def bundle(exported, tmp_path):
    """A copy of the toys' bundle."""
    return Path(shutil.copytree(exported[0], tmp_path / "serving"))


@pytest.fixture
def servables(bundle):
    servables = Servables(bundle)
    servables.refresh()
    yield servables
    servables.close()


@pytest.fixture(scope="module")
def loaded(exported):
    """The toys' bundle, loaded once for tests that change nothing."""
    servables = Servables(exported[0])
    servables.refresh()
    yield servables
    servables.close()


def add_version(bundle, number, name="toys"):
    """As the exporter does: complete, then renamed."""
    folder = bundle / "models" / name
    shutil.copytree(bundle / "models/toys/1", folder / f".{number}.tmp")
    os.rename(folder / f".{number}.tmp", folder / str(number))


def states(servables, model="toys"):
    return {status["version"]: status["state"] for status in servables.status(model)["model_version_status"]}


def test_signatures_metadata_and_outputs(loaded):
    servable = loaded.find("toys")
    assert {name: signature.inputs for name, signature in servable.signatures.items()} == {
        "serving_default": {"image_bytes": (bytes, (None,))},
        "predict_images": {"images": (np.float32, (None, 16, 24, 3))},
        "features": {"image_bytes": (bytes, (None,))},
    }
    metadata = servable.metadata("toys")
    assert metadata["model_spec"] == {"name": "toys", "signature_name": "", "version": "1"}
    stored = metadata["metadata"]["signature_def"]["signature_def"]["predict_images"]
    assert stored["method_name"] == "tensorflow/serving/predict"
    assert stored["inputs"]["images"]["dtype"] == "DT_FLOAT"
    assert [side["size"] for side in stored["inputs"]["images"]["tensor_shape"]["dim"]] == ["-1", "16", "24", "3"]
    images = np.zeros((3, 16, 24, 3), np.float32)
    output = servable.submit("predict_images", {"images": images}).result(60)
    assert output["probabilities"].shape == (3, 6)
    empty = servable.submit("serving_default", {"image_bytes": np.array([], object)}).result(60)
    assert empty["classes"].shape == (0, 3)


def test_decode_gives_what_the_signature_of_bytes_classifies(loaded, exported):
    pixels = (exported[0] / "examples/toys/1/01.jpg").read_bytes()
    servable = loaded.find("toys")
    image = servable.decode(pixels)
    assert image.shape == (16, 24, 3) and image.dtype == np.float32 and image.max() > 1
    scores = servable.submit("predict_images", {"images": image[np.newaxis]}).result(60)["probabilities"][0]
    outputs = servable.submit("serving_default", {"image_bytes": np.array([pixels], object)}).result(60)
    np.testing.assert_allclose(scores[outputs["class_ids"][0]], outputs["scores"][0], atol=1e-6)
    assert servable.largest_batch == 32
    with pytest.raises(RestError, match="damaged, or of a kind .* send JPEG or PNG") as error:
        servable.decode(b"no image")
    assert error.value.status == 400


def test_new_and_deleted_versions_are_followed(servables, bundle):
    assert servables.available() == [("toys", 1)]
    add_version(bundle, 2)
    (bundle / "models/toys/.3.tmp").mkdir()
    old = servables.find("toys")
    servables.refresh()
    assert states(servables) == {"2": "AVAILABLE", "1": "END"} and servables.find("toys").number == 2
    straggler = old.submit("predict_images", {"images": np.zeros((1, 16, 24, 3), np.float32)})
    assert straggler.result(60)["probabilities"].shape == (1, 6)
    shutil.rmtree(bundle / "models/toys/2")
    servables.refresh()
    assert states(servables) == {"2": "END", "1": "AVAILABLE"}


def test_a_broken_version_does_not_replace_the_old_one_and_is_retried_when_it_changes(servables, bundle):
    broken = bundle / "models/toys/7"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"no graph")
    for _ in range(2):
        servables.refresh()
        assert states(servables) == {"7": "END", "1": "AVAILABLE"}
    failed = servables.status("toys", 7)["model_version_status"][0]["status"]
    assert failed["error_code"] == "UNKNOWN" and failed["error_message"]
    shutil.copytree(bundle / "models/toys/1", broken, dirs_exist_ok=True)
    servables.refresh()
    assert states(servables) == {"7": "AVAILABLE", "1": "END"}


def test_labels_and_policies(servables, bundle):
    add_version(bundle, 2)
    (bundle / "models.config").write_text(
        'model_config_list { config { name: "toys" base_path: "/models/toys" model_version_policy { all {} }'
        'version_labels { key: "stable" value: 1 } version_labels { key: "lost" value: 9 } } }'
    )
    servables.refresh()
    assert states(servables) == {"2": "AVAILABLE", "1": "AVAILABLE"}
    assert servables.find("toys").number == 2 and servables.find("toys", version=1).number == 1
    assert servables.find("toys", label="stable").number == 1
    assert servables.status("toys", label="stable") == servables.status("toys", version=1)


def test_a_removed_model_is_unloaded(servables, bundle):
    (bundle / "models/other").mkdir()
    add_version(bundle, 1, "other")
    (bundle / "models.config").write_text('model_config_list { config { name: "other" base_path: "/models/other" } }')
    servables.refresh()
    assert servables.available() == [("other", 1)] and states(servables) == {"1": "END"}


@pytest.mark.parametrize(
    "call, status, problem",
    [
        (lambda s: s.find("none"), 404, r"Servable not found for request: Latest\(none\)"),
        (lambda s: s.find("toys", 5), 404, r"Servable not found for request: Specific\(toys, 5\)"),
        (lambda s: s.find("toys", label="x"), 400, "Unrecognized servable version label: x"),
        (lambda s: s.status("none"), 404, "Could not find any versions of model none"),
        (lambda s: s.status("toys", 5), 404, "Could not find version 5 of model toys"),
        (lambda s: s.find("toys").find_signature("x"), 400, 'Serving signature name: "x" not found'),
    ],
)
def test_absent_models_and_versions(loaded, call, status, problem):
    with pytest.raises(RestError, match=problem) as error:
        call(loaded)
    assert error.value.status == status


def test_a_folder_without_models(tmp_path):
    servables = Servables(tmp_path)
    servables.refresh()
    assert servables.available() == []
