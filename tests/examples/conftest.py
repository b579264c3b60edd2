import dataclasses

import pytest

from keras_vit.training import digits


@pytest.fixture
def few_digits(monkeypatch):
    """64 digits to train on, 20 to validate, 10 held out: a training in a second or two."""
    whole = digits.load()
    sizes = {"train": 64, "val": 20, "held_out": 10}
    parts = {name: getattr(whole, name).take(range(size)) for name, size in sizes.items()}
    few = dataclasses.replace(whole, **parts)
    monkeypatch.setattr(digits, "load", lambda: few)
    return few
