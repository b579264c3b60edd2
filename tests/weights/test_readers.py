"""Every format returns what was written; other files are refused by name."""

import json
import zipfile

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_vit.weights import readers

RNG = np.random.default_rng(0)
ARRAYS = {
    "a/kernel": RNG.normal(size=(2, 3)).astype("float32"),
    "b": RNG.normal(size=5).astype("float16"),
    "scalar": np.array(7, "int64"),
    "empty": np.zeros((0, 4), "float32"),
    "double": RNG.normal(size=(1, 2, 2)),
    "flags": np.array([True, False]),
}


def check(entries, arrays=ARRAYS):
    assert entries.shapes() == {name: array.shape for name, array in arrays.items()}
    assert set(entries) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(entries[name], array)
        assert entries[name].dtype == (np.float32 if array.dtype == np.float16 else array.dtype)


def test_safetensors(tmp_path):
    save_file(ARRAYS, tmp_path / "w.safetensors")
    check(readers.read(tmp_path / "w.safetensors"))


def write_safetensors(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16_safetensors(tmp_path):
    numbers = np.array([[1.5, -2.0], [0.0, 384.0]], "float32")
    bits = (numbers.view("uint32") >> 16).astype("<u2")
    item = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}
    write_safetensors(tmp_path / "w", {"__metadata__": {"format": "pt"}, "x": item}, bits.tobytes())
    check(readers.read(str(tmp_path / "w")), {"x": numbers})


def test_an_unsupported_number_format_is_refused(tmp_path):
    item = {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}
    write_safetensors(tmp_path / "w.safetensors", {"x": item}, bytes(4))
    with pytest.raises(ValueError, match="w.safetensors: x .*F8_E4M3.*F32"):
        readers.read(tmp_path / "w.safetensors")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    save(tmp_path / "w.npz", **ARRAYS, fortran=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    check(readers.read(tmp_path / "w.npz"), ARRAYS | {"fortran": np.arange(6.0).reshape(2, 3)})


def test_bfloat16_npz_as_jax_saves_it(tmp_path):
    numbers = np.array([1.5, -2.0, 384.0], "float32")
    np.savez(tmp_path / "w.npz", x=(numbers.view("uint32") >> 16).astype("<u2").view("V2"))
    check(readers.read(tmp_path / "w.npz"), {"x": numbers})


def test_objects_in_an_npz_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="x.npy holds Python objects.*not executed"):
        readers.read(tmp_path / "w.npz")


def test_content_decides_not_the_suffix(tmp_path):
    save_file(ARRAYS, tmp_path / "w.pth")
    check(readers.read(tmp_path / "w.pth"))
    np.savez(tmp_path / "v.npz", **ARRAYS)
    (tmp_path / "v.npz").rename(tmp_path / "v.safetensors")
    check(readers.read(tmp_path / "v.safetensors"))


FOREIGN = {
    "empty": (b"", "an empty file"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(80), "a JPEG image"),
    "html": (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    "text": (b"hello, this is a text and no weight file", "first bytes b'hello, t'"),
    "braces": (b"12345678{ not a header", "(?:header too large|HeaderTooLarge)"),
    "zip": (b"PK\x03\x04" + bytes(80), "not a zip file"),
    "pickle": (b"\x80\x02}q\x00.", "first bytes"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_errors_name_other_files_and_their_kind(tmp_path, kind):
    content, found = FOREIGN[kind]
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)w.pth is damaged.*expected.*Received: .*{found}.*Download it again"):
        readers.read(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = tmp_path / f"w{suffix}"
    if suffix == ".npz":
        np.savez(path, **ARRAYS)
    else:
        save_file(ARRAYS, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match="is damaged.*Download it again"):
        dict(readers.read(path))


def test_files_of_keras_are_refused(tmp_path):
    for name in ("m.keras", "renamed.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("config.json", "{}")
            file.writestr("model.weights.h5", b"")
    for name in ("m.weights.h5", "renamed.bin"):
        with h5py.File(tmp_path / name, "w") as file:
            file["layers/dense/vars/0"] = np.zeros(3)
    for name, remedy in {
        "m.keras": "weights=",
        "m.weights.h5": "weights=",
        "renamed.zip": "mv",
        "renamed.bin": "mv",
    }.items():
        with pytest.raises(ValueError, match=f"{name} was written by Keras.*{remedy}"):
            readers.read(tmp_path / name)


def test_an_unknown_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as file:
        file.writestr("notes.txt", "")
    with pytest.raises(ValueError, match="notes.txt"):
        readers.read(tmp_path / "w.zip")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file.*nothing.npz"):
        readers.read(tmp_path / "nothing.npz")
    with pytest.raises(FileNotFoundError, match="it is a folder"):
        readers.read(tmp_path)


def write_shards(folder, place=None, name="model.safetensors.index.json"):
    """Two shards and their index; `place` replaces its map."""
    save_file({"a/kernel": ARRAYS["a/kernel"], "b": ARRAYS["b"]}, folder / "model-1.safetensors")
    np.savez(folder / "model-2.bin", double=ARRAYS["double"])  # the content decides, here too
    (folder / "model-2.bin.npz").rename(folder / "model-2.bin")
    known = {"a/kernel": "model-1.safetensors", "b": "model-1.safetensors", "double": "model-2.bin"}
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": known if place is None else place})
    (folder / name).write_text(text)
    return folder / name


def test_the_files_of_an_index_are_read_as_one(tmp_path):
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        entries = readers.read(write_shards(tmp_path, name=name))
        check(entries, {key: ARRAYS[key] for key in ("a/kernel", "b", "double")})


def test_a_missing_file_of_an_index_is_named(tmp_path):
    index = write_shards(tmp_path)
    (tmp_path / "model-2.bin").unlink()
    with pytest.raises(ValueError, match="index.json: 1 of its 2 files are missing: model-2.bin. Expected them in"):
        readers.read(index)


@pytest.mark.parametrize("name", ["../model-1.safetensors", "/etc/passwd", "a/b", "..", "", "C:x", "a\\b", "a\0"])
def test_no_file_of_an_index_lies_outside_its_folder(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    write_shards(tmp_path)
    with pytest.raises(ValueError, match="index.json is not read: it names .*must lie in the folder of the index"):
        readers.read(write_shards(inside, {"b": name}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "[" * 10**5])
def test_what_is_no_index_is_refused(tmp_path, text):
    (tmp_path / "x.index.json").write_text(text)
    with pytest.raises(ValueError, match="x.index.json is damaged or not a weight file"):
        readers.read(tmp_path / "x.index.json")


def test_an_index_that_promises_what_a_file_lacks_is_refused(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match="model-2.bin is damaged .*expected the array z, as model.safetensors.index.json"
    ):
        readers.read(write_shards(tmp_path, {"z": "model-2.bin"}))
    monkeypatch.setattr(readers, "MAX_HEADER", 50)
    with pytest.raises(ValueError, match="the limit is 50 \\(MAX_HEADER\\)"):
        readers.read(write_shards(tmp_path))
