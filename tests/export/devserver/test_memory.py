"""Freed memory is given back to the system, where the C library can be asked to."""

import ctypes
import gc

import pytest

from keras_vit.export.devserver import memory


def test_memory_can_be_given_back_anywhere():
    memory.give_back()
    memory.give_back()


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(error, monkeypatch):
    def missing(name):
        raise error("no malloc_trim")

    memory.trimming.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    memory.give_back()
    assert memory.trimming() is None
    memory.trimming.cache_clear()


def test_cycles_are_looked_for_again_after_the_block():
    assert gc.isenabled()
    with pytest.raises(ValueError), memory.without_cycles(), memory.without_cycles():
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()
