"""The limit on pixels: the default, the environment's, and what it refuses."""

import pytest

from keras_vit.system import limits


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv(limits.PIXELS_VARIABLE, "1")
    monkeypatch.delenv(limits.PIXELS_VARIABLE)


def test_pixels_and_sides_are_limited():
    assert limits.max_pixels() == limits.MAX_PIXELS
    assert limits.fits(9459, 9459) and not limits.fits(9460, 9460)
    assert limits.fits(limits.MAX_SIDE, 1) and not limits.fits(1, limits.MAX_SIDE + 1)


def test_another_limit_is_that_of_processes_that_are_started_too(monkeypatch):
    limits.set_max_pixels(100)
    assert limits.fits(10, 10) and not limits.fits(10, 11)
    monkeypatch.setenv(limits.PIXELS_VARIABLE, "101")
    assert limits.max_pixels() == 101


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1e9", "9" * 5000, "\u0661"])
def test_a_limit_that_is_no_positive_integer_is_refused(text, monkeypatch):
    monkeypatch.setenv(limits.PIXELS_VARIABLE, text)
    with pytest.raises(ValueError, match="KERAS_VIT_MAX_PIXELS must be a positive integer"):
        limits.max_pixels()
