"""Dataclasses of settings as options of argparse: --batch-size 64, --img-size 224 224, --clip-grad None, --no-xla."""

import argparse
import ast
import difflib
import inspect
import textwrap
from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints


def add_group(parser, title, kind, values, completers):
    """Add an option for each field of a dataclass, under a heading of the help.

    Args:
        parser: an argparse.ArgumentParser.
        title: of the group.
        kind: the dataclass; the string that follows a field in its source is the option's help. A field is a bool, int,
            float, str, Literal of strings or tuple of numbers, or one of these or None; a number may be a word instead,
            as in int | Literal["auto"].
        values: {name of a field: default}.
        completers: {name of a field: function for tab completion}, where there is one.
    """
    group, texts = parser.add_argument_group(title), field_texts(kind)
    for name, hint in get_type_hints(kind).items():
        if name in texts:
            help = f"{texts[name]} (default: {_shown(values[name])})".replace("%", "%%").strip()
            option = group.add_argument(option_of(name), default=values[name], help=help, **_form(hint))
            option.completer = completers.get(name)


def option_of(name):
    """batch_size -> --batch-size."""
    return f"--{name.replace('_', '-')}"


def refuse_unknown(argv, kinds, others):
    """The arguments with - for _ in the options, as timm's users may write them.

    Args:
        kinds: the dataclasses whose fields are options.
        others: names of further options, "--output".
    Raises:
        ValueError: for an option that does not exist, with the closest.
    """
    hints = {name: hint for kind in kinds for name, hint in get_type_hints(kind).items()}
    known = [*others, *map(option_of, hints)]
    known += [option_of(f"no_{name}") for name, hint in hints.items() if hint is bool]
    known += [f"--no-{other.removeprefix('--')}" for other in others]
    argv = [_with_hyphens(argument) for argument in argv]
    for option in (argument.partition("=")[0] for argument in argv if argument.startswith("--")):
        if option not in known:
            close = ", ".join(difflib.get_close_matches(option, known, cutoff=0.5))
            raise ValueError(f"There is no option {option}. {f'Closest: {close}.' if close else '--help lists them.'}")
    return argv


def field_texts(kind):
    """{field of a dataclass: the string that follows it in the source, on one line, or ""}, of its own fields alone."""
    (source,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    own, texts = {field.name for field in fields(kind)}, {}
    for statement, following in zip(source.body, [*source.body[1:], None]):
        if isinstance(statement, ast.AnnAssign) and statement.target.id in own:
            value = following.value if isinstance(following, ast.Expr) else None
            text = value.value if isinstance(value, ast.Constant) else ""
            texts[statement.target.id] = " ".join(text.split())
    return texts


def _with_hyphens(argument):
    option, equals, value = argument.partition("=")
    return f"{option.replace('_', '-')}{equals}{value}" if option.startswith("--") else argument


def _shown(value):
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _form(hint):
    """What argparse has to know of an option whose value is of a type."""
    union = () if get_origin(hint) in (Literal, tuple) else get_args(hint)
    words = {word: word for kind in union if get_origin(kind) is Literal for word in get_args(kind)}
    words |= {"None": None} if type(None) in union else {}
    optional = None in words.values()
    if union:
        (hint,) = (kind for kind in union if kind is not type(None) and get_origin(kind) is not Literal)
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        metavar = (kinds[0].__name__.upper(),) * len(kinds)
        return {"action": _tuple_action(kinds, optional), "nargs": "+", "metavar": metavar[0]}

    def convert(text):
        return words[text] if text in words else hint(text)

    convert.__name__ = hint.__name__  # what argparse calls a value that is none
    return {"type": convert, "metavar": "|".join([hint.__name__.upper(), *words])}


def _tuple_action(kinds, optional):
    class TupleAction(argparse.Action):
        """One value per element, or None."""

        def __call__(self, parser, namespace, values, option_string=None):
            try:
                value = tuple(kind(text) for kind, text in zip(kinds, values, strict=True))
            except ValueError:
                value = None
                if not (optional and values == ["None"]):
                    expected = f"{len(kinds)} of type {kinds[0].__name__}{' or None' if optional else ''}"
                    parser.error(f"argument {option_string}: expected {expected}. Received: {' '.join(values)}")
            setattr(namespace, self.dest, value)

    return TupleAction
