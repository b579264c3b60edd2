"""Slow fixtures, made once: a run, its expected outputs, its artifacts, and their outputs."""

import shutil

import pytest

from tests.export.toys import replay_here, toy_model, write_run, write_several


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), toy_model())


@pytest.fixture(scope="session")
def toy_source(toy_run):
    from keras_vit.export.model.source import open_source

    return open_source(toy_run)


@pytest.fixture(scope="session")
def expected(toy_source):
    from keras_vit.export.parity.parity import expect

    return expect(toy_source)


@pytest.fixture(scope="session")
def exported(toy_source, expected, tmp_path_factory):
    """(bundle, version folder, report) of the toy run."""
    from keras_vit.export.serving import bundle

    folder = tmp_path_factory.mktemp("serving")
    return folder, *bundle.export(toy_source, folder, expected, top_k=3)


@pytest.fixture(scope="module")
def running(exported, tmp_path_factory):
    """The development server of a copy of the toys' bundle."""
    from tests.export.running import start_ours

    place = tmp_path_factory.mktemp("running")
    bundle = shutil.copytree(exported[0], place / "served")
    with open(place / "log", "w") as log:
        running = start_ours(bundle, log)
        yield running
        running.process.terminate()
        running.process.wait(30)


@pytest.fixture(scope="session")
def served_outputs(exported, expected):
    """The outputs of the SavedModel, from a process without this library."""
    from keras_vit.export.parity.parity import replay_all

    return replay_all([("saved_model", exported[1])], expected)[0]


@pytest.fixture
def quick_exports(exported, served_outputs, monkeypatch):
    """Exports of the toy run reuse the SavedModel and its outputs; the fixture's function replaces outputs."""
    from keras_vit.export.parity import parity
    from keras_vit.export.serving import saved_model

    def save(source, path, top_k):
        shutil.copytree(exported[1], path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("assets.extra"))
        return exported[2]["signatures"]

    def replace(**outputs):
        monkeypatch.setattr(parity, "replay_all", lambda *arguments: [{**served_outputs, **outputs}])

    monkeypatch.setattr(saved_model, "save", save)
    replace()
    return replace


@pytest.fixture(scope="session")
def converted(toy_source, expected, float_file, tmp_path_factory):
    """(folder, report) of the toy run's .tflite files."""
    from keras_vit.export.edge import tflite

    folder = tmp_path_factory.mktemp("edge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "run_converter", lambda source, path, _: shutil.copyfile(float_file, path))
        return folder, tflite.convert(toy_source, folder, expected=expected)


@pytest.fixture(scope="session")
def float_file(toy_source, tmp_path_factory):
    """The toy run's file as TensorFlow's converter writes it."""
    from keras_vit.export.edge import tflite

    folder = tmp_path_factory.mktemp("float")
    tflite.run_converter(toy_source, folder / "float.tflite", folder / "static")
    return folder / "float.tflite"


@pytest.fixture(scope="session")
def replayed(exported, converted, expected):
    """The outputs of the SavedModel, the float and the quantized file, from one process without this library."""
    from keras_vit.export.parity.parity import replay_all

    files = [("tflite", converted[0] / file["file"]) for file in converted[1]["files"]]
    return replay_all([("saved_model", exported[1]), *files], expected, runs=3)


@pytest.fixture(scope="session")
def integer(toy_source, expected, float_file, tmp_path_factory):
    """(folder, report) of the toy run's files in float16, int8 and int16x8."""
    from keras_vit.export.edge import calibration, tflite

    folder = tmp_path_factory.mktemp("integer")
    calibrated = calibration.from_files([path for path, _ in toy_source.images], toy_source.spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "run_converter", lambda source, path, _: shutil.copyfile(float_file, path))
        report = tflite.convert(toy_source, folder, ["float16", "int8", "int16x8"], expected, calibrated)
    return folder, report


@pytest.fixture(scope="session")
def several_run(tmp_path_factory):
    return write_several(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="session")
def toy_backbone(toy_run):
    from keras_vit.export.model.backbone import open_backbone

    return open_backbone(toy_run)


@pytest.fixture(scope="session")
def toy_features(toy_backbone):
    from keras_vit.export.parity.features import expect_features

    return expect_features(toy_backbone)


@pytest.fixture(scope="session")
def toy_album(toy_run, toy_features, tmp_path_factory):
    """The file of the vectors of the toys' test images, as `keras-vit embed` writes it."""
    from keras_vit.prediction.embeddings_file import Embeddings, save_embeddings

    path = tmp_path_factory.mktemp("album") / "toys.npz"
    save_embeddings(path, Embeddings(tuple(toy_features.files), toy_features.features["embedding"], str(toy_run)))
    return path


@pytest.fixture(scope="session")
def exported_features(toy_backbone, toy_features, toy_album, tmp_path_factory):
    """(bundle, version folder, report) of the toys' embedding, with an index."""
    from keras_vit.export.parity import parity
    from keras_vit.export.serving import bundle
    from keras_vit.prediction.embeddings_file import load_embeddings

    folder = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "replay_all", replay_here)
        index = load_embeddings(toy_album)
        return folder, *bundle.export(toy_backbone, folder, toy_features, batch_sizes=[1, 2], index=index)


@pytest.fixture(scope="module")
def served(exported):
    """The toy's SavedModel, loaded."""
    import tensorflow as tf

    return tf.saved_model.load(str(exported[1]))  # the caller keeps it, since it owns the variables
