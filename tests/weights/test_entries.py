"""Entries read an array when it is accessed; members of a zip are verified by their checksum."""

import zipfile

import numpy as np
import pytest

from keras_vit.weights.entries import Archive, Entries, Entry, from_bfloat16, widen


def test_entries_are_read_on_access():
    loaded = []

    def load():
        loaded.append("a")
        return np.ones((2, 3), "float16")

    entries = Entries("w.npz", {"a": Entry((2, 3), load)})
    assert entries.shapes() == {"a": (2, 3)} and "a" in entries and list(entries) == ["a"] and len(entries) == 1
    assert "b" not in entries and not loaded
    assert entries["a"].dtype == np.float32 and loaded == ["a"]
    with pytest.raises(KeyError):
        entries["b"]


def test_bfloat16_is_the_upper_half_of_a_float32():
    numbers = np.array([[0.0, -1.0, 0.15625], [np.inf, 3.0, -2.5]], "float32")  # exact in bfloat16
    bits = (numbers.view("uint32") >> 16).astype("uint16")
    np.testing.assert_array_equal(from_bfloat16(bits), numbers)


def test_widening_changes_half_precision_only():
    assert widen(np.ones(2, "float16")).dtype == np.float32
    for kind in ("float32", "float64", "int64", "bool"):
        assert widen(np.ones(2, kind)).dtype == np.dtype(kind)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archive_reads_stored_and_compressed_members(tmp_path, compression):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("one", b"1" * 1000)
        file.writestr("two", b"2" * 10)
    archive = Archive(path)
    assert list(archive.members) == ["one", "two"] and archive.size("one") == 1000
    assert archive.read("one") == b"1" * 1000 and archive.read("two") == b"2" * 10
    assert archive.head("one", 4) == b"1111" and archive.head("two", 400) == b"2" * 10


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_byte_is_noticed(tmp_path, compression):
    path = tmp_path / "a.zip"
    content = np.random.default_rng(0).bytes(1000)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("one", content)
    data = bytearray(path.read_bytes())
    data[500] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match="a.zip is damaged.*Download it again"):
        Archive(path).read("one")
