import datetime
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
