"""What values of settings may be, and how an error names the others."""

import difflib
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, kw_only=True)
class Group:
    """Settings that are checked on construction. The string below a field is its help on the command line."""

    def __post_init__(self):
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(hint))}. Received: {getattr(self, name)!r}."
                    f"{closest(str(getattr(self, name)), get_args(hint))}"
                )


def closest(name, known):
    """The names most like one that does not exist, or all names, as the end of an error's sentence."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f" Closest: {', '.join(close)}."
    return f" Known: {', '.join(known)}."


def above_zero(settings, *names):
    """Raise a ValueError unless these settings are above 0, or None."""
    for name in names:
        value, kinds = getattr(settings, name), get_args(get_type_hints(type(settings))[name])
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0{', or None' if type(None) in kinds else ''}. Received: {value}.")


def at_least_zero(settings, *names):
    """Raise a ValueError if one of these settings is negative."""
    for name in names:
        if getattr(settings, name) < 0:
            raise ValueError(f"{name} must not be negative. Received: {getattr(settings, name)}.")


def below_one(settings, *names):
    """Raise a ValueError unless these settings lie in [0, 1)."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name} must lie in [0, 1). Received: {getattr(settings, name)}.")


def up_to_one(settings, *names):
    """Raise a ValueError unless these settings lie in [0, 1]."""
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must lie in [0, 1]. Received: {getattr(settings, name)}.")
