from types import SimpleNamespace

import pytest

from keras_vit.training import setting_checks


def test_the_closest_names_are_suggested_or_all():
    assert setting_checks.closest("epoch", ("epochs", "lr")) == " Closest: epochs."
    assert setting_checks.closest("zzz", ("epochs", "lr")) == " Known: epochs, lr."


@pytest.mark.parametrize(
    "check, good, bad",
    [
        (setting_checks.at_least_zero, (0, 3), (-1,)),
        (setting_checks.below_one, (0, 0.5), (-0.1, 1.0)),
        (setting_checks.up_to_one, (0, 1.0), (-0.1, 1.1)),
    ],
)
def test_values_out_of_range_are_named(check, good, bad):
    for value in good:
        check(SimpleNamespace(rate=value), "rate")
    for value in bad:
        with pytest.raises(ValueError, match=f"rate must .* Received: {value}"):
            check(SimpleNamespace(rate=value), "rate")
