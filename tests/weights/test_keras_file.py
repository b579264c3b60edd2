"""What Keras' files hold is told by their content, and the remedies that are named help."""

import io
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_vit.prediction.predictor import Predictor
from keras_vit.system import limits
from keras_vit.weights import keras_file
from tests.models.toys import TOYS

VIT, SHAPE = TOYS["vit"]


@pytest.fixture(scope="module")
def model():
    """A model that was compiled, as one is that a callback saves."""
    model = VIT(weights=None, input_shape=SHAPE, classes=7)
    model.compile("adam", "categorical_crossentropy")
    model.fit(np.zeros((2, *SHAPE), "float32"), np.eye(7, dtype="float32")[:2], verbose=0)
    return model


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """{kind: a file of Keras}."""
    folder = tmp_path_factory.mktemp("files")
    model.save(folder / "whole.keras")
    model.save(folder / "whole.h5")
    model.save_weights(folder / "own.weights.h5")
    with h5py.File(folder / "older.h5", "w") as file:
        from keras.src.legacy.saving import legacy_h5_format

        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    with h5py.File(folder / "data.h5", "w") as file:
        file["x"] = np.zeros(3)
    (folder / "cut.h5").write_bytes((folder / "whole.h5").read_bytes()[:3000])
    return {path.name.split(".")[0] if path.suffix == ".h5" else "archive": path for path in folder.iterdir()}


def given(files, kind, name, folder):
    return Path(shutil.copy(files[kind], folder / name))


def same(one, other):
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    ("kind", "name", "makes"),
    [
        ("whole", "best.h5", "best.keras"),
        pytest.param("whole", "best.weights.h5", "best.keras", marks=pytest.mark.slow),
        pytest.param("whole", "best.keras", "best.keras", marks=pytest.mark.slow),
        pytest.param("whole", "best.pth", "best.keras", marks=pytest.mark.slow),
        pytest.param("whole", "best", "best.keras", marks=pytest.mark.slow),
        pytest.param("whole", "my $best 'one'.h5", "my $best 'one'.keras", marks=pytest.mark.slow),
        ("own", "best.h5", "best.weights.h5"),
        pytest.param("own", "best.pt", "best.weights.h5", marks=pytest.mark.slow),
        pytest.param("own", "best", "best.weights.h5", marks=pytest.mark.slow),
        pytest.param("own", "best one.keras", "best one.weights.h5", marks=pytest.mark.slow),
        pytest.param("archive", "best.h5", "best.keras", marks=pytest.mark.slow),
        pytest.param("archive", "best.bin", "best.keras", marks=pytest.mark.slow),
        pytest.param("archive", "best", "best.keras", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow  # it runs what the message says
def test_the_command_that_is_named_makes_what_is_read(model, files, tmp_path, kind, name, makes):
    path = given(files, kind, name, tmp_path)
    with pytest.raises(ValueError) as error:
        VIT(weights=path, input_shape=SHAPE, classes=7)
    text = str(error.value)
    assert name in text
    start = min(text.find(word) for word in ("mv ", "python -c ") if word in text)
    command = text[start:].replace("python -c ", f"{shlex.quote(sys.executable)} -W ignore -c ")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, capture_output=True)
    same(VIT(weights=tmp_path / makes, input_shape=SHAPE, classes=7), model)


def test_older_weights_help_by_what_the_error_says(model, files, tmp_path):
    path = given(files, "older", "best.h5", tmp_path)
    with pytest.raises(ValueError, match="save_weights of Keras 2.*load_weights.*model.save") as error:
        VIT(weights=path, input_shape=SHAPE, classes=7)
    built = VIT(weights=None, input_shape=SHAPE, classes=7)
    code = str(error.value).split("then ")[1].split(", and use")[0].replace(" and ", "; ")
    exec(code, {"model": built})
    same(VIT(weights=tmp_path / "best.keras", input_shape=SHAPE, classes=7), model)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("cut", "HDF5 file that is cut short or damaged"), ("data", "HDF5 file that Keras did not write: it holds x")],
)
@pytest.mark.parametrize("name", ["best.h5", "best.weights.h5", "best.keras", "best.pth"])
def test_a_damaged_file_and_one_of_another_program_are_told_apart(files, tmp_path, kind, message, name):
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        VIT(weights=given(files, kind, name, tmp_path), input_shape=SHAPE, classes=7)


@pytest.mark.parametrize("name", ["best.h5", "best.keras", "best.weights.h5"])
def test_a_web_page_and_an_empty_file_are_told_apart(tmp_path, name):
    for text, message in (("<html>not found", "web page"), ("", "empty file")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}.*{message}|{name} is not a .keras file"):
            VIT(weights=tmp_path / name, input_shape=SHAPE, classes=7)


@pytest.mark.parametrize(
    ("kind", "name", "remedy"),
    [
        ("whole", "best.h5", "load_model"),
        ("own", "best.weights.h5", "create_model"),
        ("own", "best.h5", "mv .*best.weights.h5"),
        ("archive", "best.h5", "mv .*best.keras"),
    ],
)
def test_what_predicts_is_told_how_to_make_of_weights(files, tmp_path, kind, name, remedy):
    with pytest.raises(ValueError, match=f"is a weight file.*{remedy}"):
        Predictor.open(given(files, kind, name, tmp_path))


def test_what_is_read_needs_no_explanation(model, files):
    assert keras_file.explain(files["archive"]) is None and keras_file.explain(files["own"]) is None
    assert sorted(keras_file.shapes(files["own"])) == sorted(tuple(v.shape) for v in model.weights)


def test_a_model_of_unknown_layers_is_named(tmp_path):
    class Mine(keras.layers.Layer):
        def call(self, x):
            return x

    image = keras.Input((4, 4, 3))
    keras.Model(image, Mine()(image)).save(tmp_path / "mine.keras")
    with pytest.raises(ValueError, match="mine.keras cannot be loaded.*Mine"):
        VIT(weights=tmp_path / "mine.keras", input_shape=SHAPE)


def test_the_sizes_of_a_file_are_added_up(model, files):
    arrays, numbers = keras_file.check_sizes(files["own"])
    assert arrays >= len(model.weights) and numbers >= model.count_params()
    assert keras_file.check_sizes("named.h5", io.BytesIO(files["own"].read_bytes())) == (arrays, numbers)
    with pytest.raises(ValueError, match="named.h5 is damaged"):
        keras_file.check_sizes("named.h5", io.BytesIO(b"no HDF5"))
    assert keras_file.check_sizes(files["data"]) == (1, 3)


def test_arrays_that_are_packed_well_are_read_up_to_a_limit(tmp_path):
    path = tmp_path / "w.h5"
    for count, fits in ((limits.MAX_UNPACKED // 4, True), (limits.MAX_UNPACKED // 4 + 1, False)):
        with h5py.File(path, "w") as file:
            file.create_dataset("x", (count,), "f4", chunks=(2**20,), compression="gzip")
        if fits:
            assert keras_file.check_sizes(path) == (1, count)
        else:
            with pytest.raises(ValueError, match="w.h5 is not read: .*MAX_UNPACKED"):
                keras_file.check_sizes(path)


def test_a_broken_zip_is_not_of_keras(tmp_path):
    path = tmp_path / "w.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model.weights.h5", b"abc")
    assert keras_file.is_keras(path)
    path.write_bytes(path.read_bytes().replace(b"PK\1\2", b"PK\1\3"))
    assert not keras_file.is_keras(path)
