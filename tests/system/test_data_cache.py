"""What was read is read from the disk, as long as the object is the same; the folder does not outgrow its bound."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_vit.system import remote
from keras_vit.system.data_cache import DataCache
from tests.stores import breaking, empty_store

URL = "memory://bucket/x"


@pytest.fixture(autouse=True)
def store():
    yield empty_store()
    empty_store()


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_an_object_and_a_range_are_read_once(tmp_path, monkeypatch):
    remote.write(URL, b"0123456789")
    calls = breaking(monkeypatch, "cat_file", [])
    for _ in range(2):  # the second is another process
        cache = DataCache(tmp_path, 1)
        assert cache.read(URL) == cache.read(URL) == b"0123456789"
        assert cache.read(URL, 3, 4) == b"3456" and cache.read(URL, 3, 5) == b"34567"
    assert len(calls) == 3


def test_an_object_that_was_replaced_is_read_again(tmp_path):
    for content in (b"one", b"three"):
        remote.write(URL, content)
        assert DataCache(tmp_path, 1).read(URL) == content


@pytest.mark.parametrize("damaged", [b"", b"x", b"damaged entry"])
def test_an_entry_that_was_damaged_is_read_again(tmp_path, damaged):
    remote.write(URL, b"content")
    DataCache(tmp_path, 1).read(URL)
    (entry,) = (path for path in tmp_path.rglob("*") if path.is_file())
    entry.write_bytes(damaged)
    assert DataCache(tmp_path, 1).read(URL) == b"content"


def test_what_was_used_least_recently_goes(tmp_path):
    cache = DataCache(tmp_path, 10_000 / 1e9)
    for number in range(8):
        remote.write(f"{URL}{number}", bytes([number]) * 1000)
        cache.read(f"{URL}{number}")
    entries = sorted((path for path in tmp_path.rglob("*") if path.is_file()), key=lambda path: path.read_bytes()[4])
    for age, path in enumerate(entries):
        os.utime(path, (1000 + age, 1000 + age))
    cache.read(f"{URL}0")  # used now
    for number in range(8, 12):
        remote.write(f"{URL}{number}", bytes([number]) * 1000)
        cache.read(f"{URL}{number}")
        assert size_of(tmp_path) <= 10_000
    left = {path.read_bytes()[4] for path in tmp_path.rglob("*") if path.is_file()}
    assert 0 in left and 1 not in left and {9, 10, 11} <= left


def test_threads_and_processes_share_a_folder(tmp_path):
    for number in range(40):
        remote.write(f"{URL}{number}", bytes([number]) * 1000)
    caches = [DataCache(tmp_path, 15_000 / 1e9) for _ in range(3)]

    def read(number):
        return caches[number % 3].read(f"{URL}{number % 40}") == bytes([number % 40]) * 1000

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(read, range(400)))
    assert size_of(tmp_path) <= 15_000 + 6 * 1004  # what the six threads add at once


def test_a_disk_that_is_full_is_no_error(tmp_path, monkeypatch):
    remote.write(URL, b"content")
    cache = DataCache(tmp_path, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cache.read(URL) == b"content" and size_of(tmp_path) == 0


def test_a_bound_is_above_zero(tmp_path):
    with pytest.raises(ValueError, match="must be above 0 gigabytes. Received: 0"):
        DataCache(tmp_path, 0)
