import datetime
import subprocess
import sys
import zipfile

import keras
import pytest

from keras_vit.training.run import model_file
from tests.training import toy


def model():
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    return toy.TOY(weights=None, input_shape=(8, 8, 3), classes=3)


def dated(path, content):
    """Save the model as if at another time."""
    with zipfile.ZipFile(path) as old:
        members = {member: old.read(member) for member in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for member, value in members.items():
            new.writestr(zipfile.ZipInfo(member.filename), content if member.filename == "metadata.json" else value)


def test_the_same_model_stays_the_same_file_whenever_it_was_saved(tmp_path):
    path = tmp_path / "model.keras"
    model_file.write(model(), path)
    dated(path, b'{"date_saved": "%s"}' % str(datetime.date(2020, 1, 1)).encode())
    before = path.read_bytes()
    model_file.write(model(), path)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_other_weights_are_written(tmp_path):
    path, other = tmp_path / "model.keras", model()
    model_file.write(model(), path)
    before = path.read_bytes()
    other.get_layer("head").bias.assign([1.0, 0.0, 0.0])
    model_file.write(other, path)
    assert path.read_bytes() != before
    assert keras.saving.load_model(path, compile=False).get_layer("head").bias.numpy().tolist() == [1, 0, 0]


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda content: b"", lambda content: b"x" * 100])
def test_a_damaged_file_is_written_again(tmp_path, damage):
    path = tmp_path / "model.keras"
    model_file.write(model(), path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    model_file.write(model(), path)
    keras.saving.load_model(path, compile=False)
    content = bytearray(whole)
    content[-3000] ^= 1  # of the weights, whose CRC then differs
    path.write_bytes(content)
    model_file.write(model(), path)
    keras.saving.load_model(path, compile=False)


def test_what_keras_leaves_when_it_is_killed_is_cleared_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    code = (
        "import os, sys, tempfile\ntempfile.tempdir = sys.argv[1]\nfrom keras_vit.training.run import model_file\n"
        "class Model:\n    def save(self, path):\n        tempfile.mkdtemp()\n        os._exit(3)\n"
        "model_file.write(Model(), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "temporary"), str(tmp_path / "model.keras")]
    assert subprocess.run(command).returncode == 3 and len(list((tmp_path / "temporary").rglob("*"))) == 2
    model_file.write(model(), tmp_path / "model.keras")
    assert list((tmp_path / "temporary").iterdir()) == []
