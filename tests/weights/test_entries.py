"""Entries read an array when it is accessed; members of a zip are verified by their checksum."""

import zipfile

import numpy as np
import pytest

from keras_vit.system import limits
from keras_vit.weights.entries import (
    Archive,
    Entries,
    Entry,
    WeightFileError,
    from_bfloat16,
    is_shape,
    max_unpacked,
    reading,
    widen,
)


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


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archive_reads_what_is_packed_otherwise(tmp_path, compression):
    content = np.random.default_rng(0).bytes(100_000) + bytes(100_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as file:
        file.writestr("one", content)
    archive = Archive(tmp_path / "a.zip")
    assert archive.read("one") == content and archive.head("one", 50) == content[:50]


def test_a_member_beyond_a_limit_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("one", bytes(1000))
    assert Archive(tmp_path / "a.zip").read("one", limit=1000) == bytes(1000)
    with pytest.raises(ValueError, match="a.zip is not read: one has 1,000 bytes; the limit is 999"):
        Archive(tmp_path / "a.zip").read("one", limit=999)


def test_what_a_zip_unpacks_to_is_bounded_by_its_bytes():
    assert max_unpacked(0) == max_unpacked(limits.MAX_UNPACKED // limits.MAX_UNPACKED_RATIO) == limits.MAX_UNPACKED
    assert max_unpacked(10**9) == limits.MAX_UNPACKED_RATIO * 10**9


def test_whatever_is_raised_names_the_file():
    for error in (KeyError("x"), MemoryError(), RecursionError("deep"), ZeroDivisionError(), OSError("gone")):
        with pytest.raises(WeightFileError, match=f"w.npz is damaged.*an array.*{type(error).__name__}"):
            with reading("w.npz", "an array"):
                raise error
    with pytest.raises(WeightFileError, match="^said already$"):
        with reading("w.npz"):
            raise WeightFileError("said already")


def test_a_file_that_cannot_be_opened_says_why():
    with pytest.raises(FileNotFoundError, match="nothing.npz"):
        with reading("nothing.npz"):
            open("nothing.npz", "rb")


@pytest.mark.parametrize("sizes", [(), (0,), (2, 3), [2**63 - 1], (1,) * limits.MAX_RANK])
def test_sizes_of_an_array(sizes):
    assert is_shape(sizes)


@pytest.mark.parametrize(
    "sizes", [(-1,), (2**63,), (1.0,), (True,), (None,), ("1",), "12", None, 3, (1,) * 33, ((1,),)]
)
def test_what_are_no_sizes_of_an_array(sizes):
    assert not is_shape(sizes)


def test_arrays_and_names_are_counted():
    entry = Entry((), lambda: np.zeros(()))
    Entries("w", {"n" * limits.MAX_NAME: entry})
    with pytest.raises(WeightFileError, match="w is not read: a name of it.*MAX_NAME"):
        Entries("w", {"n" * (limits.MAX_NAME + 1): entry})
    with pytest.raises(WeightFileError, match="w is not read: it has 20,001 arrays.*MAX_ARRAYS"):
        Entries("w", dict.fromkeys(map(str, range(limits.MAX_ARRAYS + 1)), entry))
