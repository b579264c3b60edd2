"""Protocol buffers as text, as TF Serving's configuration files are written: enough to read those and write them.

A message is a list of (field, value) pairs; a value is a message, a string, a number, True, False, or a `Word` (the
name of an enum's value). Comments are dropped.
"""

import json
import re

TOKEN = re.compile(
    r"""(?P<blank>(?:\s|\#[^\n]*)+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z_]\w*)
      | (?P<number>[-+]?\.?\d[\w.+-]*)
      | (?P<sign>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
CLOSING = {"{": "}", "<": ">"}


class Word(str):
    """A name without quotes."""


def parse(text):
    """The message in a text; ValueError naming the line if it is none."""
    return _Reader(text).message(closing=None)


def dump(message, indent=0):
    """The text of a message, one field a line."""
    lines = []
    for name, value in message:
        start = " " * indent + name
        if isinstance(value, list):
            inside = dump(value, indent + 2)
            lines.append(f"{start} {{\n{inside}{' ' * indent}}}\n" if inside else f"{start} {{}}\n")
        else:
            plain = isinstance(value, Word) or not isinstance(value, (str, bool))
            lines.append(f"{start}: {value if plain else json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)


def get(message, name, default=None):
    """The last value of a field, which is the one that counts, or the default."""
    return next((value for field, value in reversed(message) if field == name), default)


class _Reader:
    """A text, token by token."""

    def __init__(self, text):
        self._text, self._place = text, 0
        self._advance()

    def message(self, closing):
        """The fields up to the sign that closes them, or up to the end."""
        fields = []
        while self._token != closing:
            if self._kind != "word":
                self._fail("the name of a field")
            name = self._take()
            if self._token == ":":
                self._take()
                if self._token == "[":
                    fields.extend((name, value) for value in self._list())
                    continue
            elif self._token not in CLOSING:
                self._fail("':' or '{'")
            fields.append((name, self._value()))
            while self._token in (",", ";"):
                self._take()
        self._take()
        return fields

    def _list(self):
        self._take()
        items = []
        while self._token != "]":
            items.append(self._value())
            if self._token == ",":
                self._take()
        self._take()
        return items

    def _value(self):
        if self._token in CLOSING:
            return self.message(CLOSING[self._take()])
        if self._kind == "word":
            word = self._take()
            return {"true": True, "false": False}.get(word, Word(word))
        if self._kind == "number":
            return self._number(self._take())
        if self._kind == "string":
            whole = ""
            while self._kind == "string":  # neighbours are one string
                whole += self._take()[1:-1].encode().decode("unicode_escape").encode("latin-1").decode()
            return whole
        return self._fail("a value")

    def _number(self, text):
        for kind in (lambda digits: int(digits, 0), float):
            try:
                return kind(text)
            except ValueError:
                continue
        return self._fail("a number", text)

    def _take(self):
        token = self._token
        self._advance()
        return token

    def _advance(self):
        found = TOKEN.match(self._text, self._place)
        if found and found.lastgroup == "blank":
            self._place = found.end()
            found = TOKEN.match(self._text, self._place)
        if found is None and self._place < len(self._text):
            self._kind, self._token = "sign", self._text[self._place]
            self._fail("a field or a value")
        self._kind, self._token = (found.lastgroup, found[0]) if found else (None, None)
        self._place = found.end() if found else self._place

    def _fail(self, wanted, received=None):
        line = self._text.count("\n", 0, self._place) + 1
        raise ValueError(f"line {line}: expected {wanted}. Received: {received or self._token or 'the end'}.")
