"""Dataclasses as options."""

import argparse
from dataclasses import dataclass
from typing import Literal

import pytest

from keras_vit.cli.settings import add_group, field_texts, refuse_unknown


@dataclass(frozen=True)
class Base:
    name: str = "a"
    """What it is
    called."""


@dataclass(frozen=True)
class Kind:
    count: int = 3
    """How many; at most 50 %."""
    rate: float | None = 0.5
    label: str | None = None
    fast: bool = True
    """Whether to hurry."""
    mode: Literal["one", "two"] = "one"
    size: tuple[int, int] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    steps: int | Literal["auto"] = 1


def parse(*argv):
    parser = argparse.ArgumentParser("x", allow_abbrev=False)
    defaults = {name: field.default for name, field in Kind.__dataclass_fields__.items()}
    add_group(parser, "a title", Kind, defaults, {"label": len})
    return parser, parser.parse_args(argv)


def test_the_defaults_are_the_values_given():
    assert Kind(**vars(parse()[1])) == Kind()


@pytest.mark.parametrize(
    "argv, changes",
    [
        (["--count", "7"], {"count": 7}),
        (["--rate", "None", "--label", "None"], {"rate": None, "label": None}),
        (["--rate=1e-3", "--label", "b"], {"rate": 1e-3, "label": "b"}),
        (["--no-fast"], {"fast": False}),
        (["--mode", "two"], {"mode": "two"}),
        (["--size", "16", "24", "--betas", ".8", ".9"], {"size": (16, 24), "betas": (0.8, 0.9)}),
        (["--size", "None"], {"size": None}),
        (["--steps", "auto"], {"steps": "auto"}),
        (["--steps", "4"], {"steps": 4}),
    ],
)
def test_values_have_their_types(argv, changes):
    assert vars(parse(*argv)[1]) == vars(parse()[1]) | changes


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--count", "x"], "argument --count: invalid int value: 'x'"),
        (["--count", "None"], "invalid int value: 'None'"),
        (["--mode", "three"], "invalid choice: 'three'"),
        (["--steps", "autos"], "argument --steps: invalid int value: 'autos'"),
        (["--steps", "None"], "argument --steps: invalid int value: 'None'"),
        (["--size", "16"], "argument --size: expected 2 of type int or None. Received: 16"),
        (["--betas", "1", "2", "3"], "expected 2 of type float. Received: 1 2 3"),
        (["--betas", "None"], "expected 2 of type float"),
    ],
)
def test_a_wrong_value_says_what_was_expected(argv, message, capsys):
    with pytest.raises(SystemExit) as exit:
        parse(*argv)
    assert exit.value.code == 2 and message in capsys.readouterr().err


def test_help_has_the_texts_and_the_defaults():
    parser, _ = parse()
    text = " ".join(parser.format_help().split())
    assert "a title" in text and "How many; at most 50 %. (default: 3)" in text and "(default: 0.9 0.999)" in text
    assert field_texts(Base) == {"name": "What it is called."} and field_texts(Kind)["rate"] == ""


def test_a_completer_reaches_its_option():
    parser, _ = parse()
    group = next(group for group in parser._action_groups if group.title == "a title")
    found = {action.dest: action.completer for action in group._group_actions}
    assert found["label"] is len and found["count"] is None


def test_underscores_are_hyphens_in_options_and_stay_in_values():
    argv = ["--no_fast", "--label=a_b", "--size", "1_0", "2"]
    assert refuse_unknown(argv, [Kind], []) == ["--no-fast", "--label=a_b", "--size", "1_0", "2"]


@pytest.mark.parametrize(
    "option, message",
    [("--cuont", "Closest: --count"), ("--other-thing=1", "Closest: --other-things"), ("--zzzzz", "--help lists them")],
)
def test_an_option_that_does_not_exist_is_named_with_the_closest(option, message):
    with pytest.raises(ValueError, match=f"There is no option {option.partition('=')[0]}. {message}"):
        refuse_unknown([option], [Kind], ["--other-things"])
