import io
import zipfile

import numpy as np
import pytest

from keras_vit.training.run import archive

ARRAYS = {"a/b": np.arange(6.0).reshape(2, 3), "c": np.array(7), "d": np.zeros((0, 4), "float32")}


def written(path, arrays, state):
    with path.open("wb") as file:
        archive.write(file, arrays, state)
    return path


def test_it_is_an_npz_with_what_was_given(tmp_path):
    path = written(tmp_path / "a.npz", ARRAYS, {"text": "ä", "number": 0.1, "list": [1, None]})
    with np.load(path, allow_pickle=False) as entries:
        assert sorted(entries.files) == ["a/b", "c", "d", archive.TEXT]
    with archive.Archive(path) as opened:
        assert opened.names == ["a/b", "c", "d"]
        assert opened.state() == {"text": "ä", "number": 0.1, "list": [1, None]}
        assert opened.header("a/b") == ((2, 3), np.dtype("float64"))
        for name, value in ARRAYS.items():
            np.testing.assert_array_equal(opened.array(name), value)


def test_the_same_content_is_the_same_bytes():
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        archive.write(file, ARRAYS, {"step": 1})
    assert files[0].getvalue() == files[1].getvalue()


def test_the_layout_of_an_array_is_kept_out_of_the_way(tmp_path):
    turned = np.asfortranarray(np.arange(6).reshape(2, 3))
    with archive.Archive(written(tmp_path / "a.npz", {"a": turned}, {})) as opened:
        np.testing.assert_array_equal(opened.array("a"), turned)


@pytest.mark.parametrize("changed", ["state", "array", "name"])
def test_the_checksum_binds_state_and_arrays(tmp_path, changed):
    path = written(tmp_path / "a.npz", ARRAYS, {"step": 1})
    other = written(
        tmp_path / "b.npz",
        {"x" if changed == "name" and name == "c" else name: v + (changed == "array") for name, v in ARRAYS.items()},
        {"step": 1},
    )
    with zipfile.ZipFile(path) as first, zipfile.ZipFile(other) as second, zipfile.ZipFile(tmp_path / "c", "w") as made:
        for name in second.namelist():
            if name != f"{archive.TEXT}.npy":
                made.writestr(name, second.read(name))
        text = first.read(f"{archive.TEXT}.npy")
        made.writestr(f"{archive.TEXT}.npy", text.replace(b'"step": 1', b'"step": 2') if changed == "state" else text)
    with archive.Archive(tmp_path / "c") as opened, pytest.raises(ValueError, match="do not belong together"):
        opened.state()


def test_without_a_checksum_the_state_is_read_as_it_is(tmp_path):
    np.savez(tmp_path / "old.npz", **{"a": np.zeros(2), archive.TEXT: np.frombuffer(b'{"step": 3}', "uint8")})
    with archive.Archive(tmp_path / "old.npz") as opened:
        assert opened.state() == {"step": 3}
