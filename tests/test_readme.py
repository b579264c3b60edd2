"""What the README says is what the repository holds."""

import pathlib
import re

from tests import readme

TEXT = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_zoo_table_is_current():
    found = TEXT.split(readme.BEGIN)[1].split(readme.END)[0].strip()
    assert found == readme.table(), "run: python -m tests.readme --write"


def test_both_commands_are_there():
    assert "make quickstart" in TEXT and "make test" in TEXT


def test_it_stays_short():
    assert len(TEXT.splitlines()) <= 200


def test_every_path_it_names_exists():
    root = pathlib.Path(__file__).parents[1]
    named = re.findall(r"`((?:keras_vit|training|export|tests|benchmarks|results|examples)/[\w./]+)`", TEXT)
    assert named and [path for path in named if not (root / path).exists()] == []
