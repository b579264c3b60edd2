"""A model without its classifier, served: the SavedModel, the folder around it, its client, and the command."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.cli import export
from keras_vit.export.model.backbone import Features, open_backbone
from keras_vit.export.model.source import ExportedModel, of_any_size
from keras_vit.export.parity import parity
from keras_vit.export.parity.features import check_saved_features, expect_features
from keras_vit.export.serving import bundle, client, saved_model
from keras_vit.models import swin
from keras_vit.models.family import Variant
from keras_vit.prediction.embeddings_file import Embeddings, load_embeddings, save_embeddings
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec
from tests.export.toys import replay_here, write_images

SWIN = Variant("TinySwin", swin.SWIN, swin.Config(12, (1, 1, 1), (1, 2, 2), 2))
SIDE = 32


@pytest.fixture(scope="module")
def served(exported_features):
    return tf.saved_model.load(str(exported_features[1]))


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    """The maps of a Swin of any size, as an `ExportedModel`."""
    folder = tmp_path_factory.mktemp("pyramid")
    Spec((SIDE, SIDE), (0.5,) * 3, (0.25,) * 3, input_values="normalized").save(folder / "preprocessing.json")
    SWIN(weights=None, input_shape=(SIDE, SIDE, 3), classes=5).save(folder / "swin.keras")
    return of_any_size(open_backbone(folder / "swin.keras", Features(maps=True)))


def test_signatures_and_their_answers(served, toy_features):
    of_files, of_images = served.signatures["serving_default"], served.signatures["predict_images"]
    assert set(served.signatures) == {"serving_default", "predict_images"}
    encoded = [Path(file).read_bytes() for file in toy_features.files]
    given = of_files(image_bytes=tf.constant([encoded[0], b"no image", *encoded[1:]]))
    assert {name: (x.dtype, x.shape[1:]) for name, x in given.items()} == {
        "embedding": (tf.float32, (64,)),
        "decoded": (tf.bool, ()),
    }
    vectors, expected = given["embedding"].numpy(), toy_features.features["embedding"]
    assert given["decoded"].numpy().tolist() == [True, False] + [True] * 11 and (vectors[1] == 0).all()
    np.testing.assert_allclose(np.delete(vectors, 1, 0), expected, atol=1e-5)
    pixels = tf.constant(toy_features.images, tf.float32)
    np.testing.assert_allclose(of_images(images=pixels)["embedding"], expected, atol=1e-5)
    assert of_files(image_bytes=tf.constant([], tf.string))["embedding"].shape == (0, 64)


def test_the_folder_and_its_report(exported_features, toy_features):
    folder, version, report = exported_features
    assert (version / saved_model.INDEX).is_file() and not list(version.glob("assets/labels.txt"))
    assert report["features"]["embedding"]["shape"] == [1, 64] and report["cosine"] > 0.99999
    assert 0 <= report["relative_difference_from_bytes"] <= report["limits"]["relative_difference"] == 1e-4
    assert json.loads((folder / "report.json").read_text())["models"]["toys"]["1"] == report
    assert "`embedding` (64), 16 x 24 pixels" in (folder / "README.md").read_text()
    stored = json.loads((folder / "expected/toys/1.json").read_text())
    answer = stored["answers"]["00.png"]["embedding"]
    assert (answer["shape"], answer["every"]) == ([64], 1)
    np.testing.assert_allclose(answer["numbers"], toy_features.features["embedding"][0], atol=1e-5)
    assert stored["answers"]["unreadable.jpg"] == {
        "embedding": {"shape": [64], "every": 1, "numbers": [0.0] * 64},
        "decoded": False,
    }
    logs = list(tf.data.TFRecordDataset(str(version / saved_model.warmup.PATH)))
    assert len(logs) == 4  # two signatures, two sizes of a batch


def test_of_large_maps_some_numbers_are_stored(monkeypatch):
    monkeypatch.setattr(bundle, "MOST_STORED", 100)
    maps = np.arange(2 * 450, dtype="float32").reshape(2, 15, 10, 3)
    source = ExportedModel(None, None, (), "maps", features=("map",))
    _, none, answer = bundle.stored_answers(
        source, None, {"map": maps, "map_of_files": maps, "decoded": np.array([True, True])}
    )
    assert none["map"]["shape"] == [15, 10, 3] and set(none["map"]["numbers"]) == {0.0}
    assert answer(1)["map"]["every"] == 5 and answer(1)["map"]["numbers"][:3] == [450.0, 455.0, 460.0]


@pytest.mark.parametrize("wrong", ["embedding", "embedding_of_files"])
def test_features_above_the_tolerance_are_refused(toy_backbone, toy_features, wrong):
    right = toy_features.features["embedding"]
    outputs = {"embedding": right, "embedding_of_files": right, "decoded": np.ones(12, bool)}
    assert check_saved_features(outputs, toy_features, toy_backbone)["cosine"] == pytest.approx(1)
    shifted = right + 2e-4 * right.std() * (np.arange(64) == 5)
    with pytest.raises(ValueError, match=r"not kept.*difference 2.0e-04 of the standard deviation \(at most 1e-04\)"):
        check_saved_features({**outputs, wrong: shifted}, toy_features, toy_backbone)


def test_files_that_the_graph_refuses_are_reported(toy_backbone, toy_features):
    right = toy_features.features["embedding"]
    outputs = {"embedding": right, "embedding_of_files": right * (np.arange(12) != 3)[:, None]}
    report = check_saved_features({**outputs, "decoded": np.arange(12) != 3}, toy_features, toy_backbone)
    assert report["refused"] == ["03.jpg"] and "1 of 12 images is of a kind" in parity.describe(report)
    with pytest.raises(ValueError, match="cannot decode any of the 12"):
        check_saved_features({**outputs, "decoded": np.zeros(12, bool)}, toy_features, toy_backbone)


@pytest.mark.slow
def test_maps_of_any_size(pyramid, tmp_path):
    toy_features = expect_features(pyramid, [(path, None) for path in write_images(tmp_path / "images", 3)])
    saved_model.save(pyramid, tmp_path / "saved")
    [outputs] = replay_here([("saved_model", tmp_path / "saved")], toy_features)
    assert outputs["features_of_images.P3"].shape == (3, SIDE // 8, SIDE // 4, 24)
    report = check_saved_features(outputs, toy_features, pyramid)
    assert set(report["features"]) == {"P2", "P3", "P4"} and report["relative_difference_at_another_size"] <= 1e-4
    outputs["features_of_images.P4"] = outputs["features_of_images.P4"] + 1e-3
    with pytest.raises(ValueError, match="not kept"):
        check_saved_features(outputs, toy_features, pyramid)


class Answers:
    """A client's server that answers from a SavedModel."""

    def __init__(self, served):
        self.served, self.change = served, lambda answer: answer

    def versions(self, model):
        return [1]

    def predict(self, model, files, at=""):
        given = self.served.signatures["serving_default"](image_bytes=tf.constant(files))
        rows = zip(*[[(name, row) for row in values.numpy().tolist()] for name, values in given.items()])
        return [self.change(dict(row)) for row in rows]


def test_the_client_checks_and_prints_features(exported_features, served, capsys, monkeypatch, toy_features):
    monkeypatch.setattr(client, "HERE", exported_features[0])
    server = Answers(served)
    assert client.check(server, ["toys"]) == 0
    assert capsys.readouterr().out == "toys version 1: 5 images, 0 wrong\n"
    changes = {
        "another shape": lambda answer: answer | {"embedding": answer["embedding"][:-1]},
        "another vector": lambda answer: answer | {"embedding": answer["embedding"][::-1]},
        "another length": lambda answer: answer | {"embedding": [1.02 * x for x in answer["embedding"]]},
        "no number": lambda answer: answer | {"embedding": [float("nan"), *answer["embedding"][1:]]},
        "another name": lambda answer: {"vector": answer["embedding"], "decoded": answer["decoded"]},
        "not decoded": lambda answer: answer | {"decoded": False},
    }
    for change in changes.values():
        server.change = change
        assert client.check(server, ["toys"]) == 1
        assert "toys version 1, 00.png: expected embedding " in capsys.readouterr().out
    server.change = lambda answer: answer
    arguments = argparse.Namespace(images=toy_features.files[:1], label=None, version=None, top=None)
    assert client.classify(server, "toys", arguments) == 0
    first = " ".join(f"{x:.4f}" for x in toy_features.features["embedding"][0, :5])
    assert capsys.readouterr().out == f"{toy_features.files[0]}\n  embedding (64): {first} ...\n"


def test_predict_says_that_it_gives_no_classes(exported_features):
    with pytest.raises(ValueError, match=r"gives features \(embedding\), not classes"):
        Predictor.open(exported_features[1])


def test_nested_lists_have_a_shape():
    maps = np.arange(24).reshape(2, 3, 4)
    assert client.flattened(maps.tolist()) == ([2, 3, 4], list(range(24)))


@pytest.mark.parametrize(
    "options, message",
    [
        (["--no-top", "--top-k", "3"], "top_k is of classes"),
        (["--no-top", "--format", "timm"], "Received: timm"),
        (["--maps", "--index", "x.npz"], "--index is for vectors"),
        (["--index", "x.npz"], "--index is for vectors"),
        (["--pooling", "avg"], "Received: --pooling alone"),
    ],
)
def test_options_that_do_not_go_together_are_refused(toy_run, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export.main([str(toy_run), "--output", str(tmp_path / "serving"), *options])
    assert not (tmp_path / "serving").exists()


def test_an_index_of_another_model_is_refused(toy_run, tmp_path):
    save_embeddings(tmp_path / "other.npz", Embeddings(("a",), np.ones((1, 7), "float32")))
    options = ["--no-top", "--index", f"{tmp_path}/other.npz"]
    with pytest.raises(ValueError, match=r"vectors of 7 numbers, and toys gives embedding \(64,\)"):
        export.main([str(toy_run), "--output", str(tmp_path / "serving"), *options])


@pytest.mark.slow
def test_the_command_exports_features_beside_a_classifier(toy_run, toy_album, exported, tmp_path, capsys):
    serving = shutil.copytree(exported[0], tmp_path / "serving")
    options = ["--no-top", "--pooling", "max", "--name", "vectors", "--batch-sizes", "1"]
    with pytest.raises(ValueError, match="another pooling is for"):
        export.main([str(toy_run), "--output", str(serving), *options])
    options = ["--no-top", "--index", str(toy_album), "--name", "vectors", "--batch-sizes", "1"]
    assert export.main([str(toy_run), "--output", str(serving), *options]) == 0
    assert "12 test images, cosine of features 1.00000 on average" in capsys.readouterr().out
    assert sorted(path.name for path in (serving / "models").iterdir()) == ["toys", "vectors"]
    names = load_embeddings(serving / "models/vectors/1" / saved_model.INDEX).names
    assert names == load_embeddings(toy_album).names
