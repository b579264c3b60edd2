"""This library's docstrings as reStructuredText, for Sphinx.

They are written to be read in the source: code in single backticks or indented, lists of names with their meaning in a
second column, and sections of one text such as "Returns:". Sections of several entries ("Args:", "Attributes:",
"Raises:") are left to napoleon.
"""

import re

FIELD = re.compile(r"(?:Input|Output|Returns|Raises):(?:\s+\S|$)")
ENTRIES = {"Args:": "entries", "Attributes:": "attributes", "Raises:": "raises"}
SHARED = re.compile(r"^( {4}\w+)((?:, \w+)+:)")  # "left, right: text", which napoleon splits among arguments only
COLUMNS = re.compile(r"\S+\s{3,}\S")
CODE = re.compile(r"(`+)(.+?)\1")
MARKUP = re.compile(r"([*|\\]|_(?!\w))")  # what would be emphasis, substitutions and references
INDENT = 4


def process(app, what, name, obj, options, lines):
    """The handler of Sphinx' event autodoc-process-docstring: changes `lines` in place."""
    lines[:] = to_rst(lines)


def to_rst(lines):
    """The lines of a docstring, dedented, as lines of reStructuredText."""
    converted, kind = [], None
    for line in lines:
        if not line.strip():
            kind = None if kind in ("code", "columns") else kind
            converted.append("")
        elif line.startswith(" "):
            if kind in (None, "text") and line.startswith(" " * INDENT):
                kind = "code"
                converted += ["", "::", ""]
            converted.append(_continued(line, kind))
        else:
            for part in re.split(r"\s{3,}(?=Output:)", line):  # "Input: ...      Output: ..." share a line
                before, kind = kind, _kind(part)
                converted += _between(before, kind)
                converted.append(_first(part, kind))
    return converted


def _kind(line):
    """What a line that is not indented belongs to."""
    if line in ENTRIES:
        return ENTRIES[line]
    if FIELD.match(line):
        return "field"
    if line.startswith("- "):
        return "list"
    return "columns" if COLUMNS.match(line) else "text"


def _between(before, kind):
    """What separates a line of one kind from that of another."""
    if before == kind or before is None and kind != "columns":
        return []
    return ["", "::", ""] if kind == "columns" else [""]


def _first(line, kind):
    if kind == "field":
        name, _, text = line.partition(":")
        return f":{name}: {_text(text.strip())}".rstrip()
    return " " * INDENT + line if kind == "columns" else _text(line)


def _continued(line, kind):
    """An indented line: as it is where it is literal."""
    if kind == "columns":
        return " " * INDENT + line
    if kind == "attributes":
        line = SHARED.sub(lambda names: names[1] + names[2].replace(" ", ""), line)
    return line if kind == "code" else _text(line)


def _text(line):
    """A line outside of code: backticks become literals, and what only looks like markup is escaped."""
    pieces, end = [], 0
    for code in CODE.finditer(line):
        pieces += [MARKUP.sub(r"\\\1", line[end : code.start()]), f"``{code[2]}``"]
        end = code.end()
    return "".join([*pieces, MARKUP.sub(r"\\\1", line[end:])])
