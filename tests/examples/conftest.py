import dataclasses

import pytest

from keras_vit.training.datasets import digits


@pytest.fixture
def few_digits(monkeypatch):
    """64 digits for training, 20 for validation, 10 for testing: a training takes a second or two."""
    whole = digits.load()
    sizes = {"train": 64, "validation": 20, "test": 10}
    splits = {name: getattr(whole, name).take(range(size)) for name, size in sizes.items()}
    few = dataclasses.replace(whole, **splits)
    monkeypatch.setattr(digits, "load", lambda: few)
    return few
