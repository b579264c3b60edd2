"""The code blocks of docs/*.md and README.md, and what becomes of each.

python, shell    run, a page's blocks in order (`tests.docs.page`)
bash             for other machines, or to install something: the syntax and the options of our own commands are checked
yaml             read
text             shows what comes out; nothing to run
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))
LANGUAGES = ("python", "shell", "bash", "yaml", "text")
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"\bkeras-vit ([a-z][^\n#&|;]*)")


@dataclass(frozen=True)
class Block:
    """One block of a page; `line` is that of its first line of code."""

    page: str
    line: int
    language: str
    code: str

    @property
    def place(self):
        """Where it stands, for messages."""
        return f"{self.page}:{self.line}"

    def commands(self):
        """The arguments of every `keras-vit` in it, also of those inside a script's quotes."""
        joined = self.code.replace("\\\n", " ")
        return [shlex.split(_balanced(found.strip())) for found in COMMAND.findall(joined)]


def blocks(page):
    """The blocks of a page; MyST's directives, whose language is in braces, are none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, fence.start(2)) + 1, fence[1].strip(), fence[2])
        for fence in FENCE.finditer(text)
    ]
    return [block for block in found if not block.language.startswith("{")]


def _balanced(command):
    """Without the quote that ends the script around it."""
    return command.removesuffix("'") if command.count("'") % 2 else command
