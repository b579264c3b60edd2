"""Files and folders that the pages name or link to exist."""

import re

import pytest

from tests.docs.blocks import PAGES, ROOT

FOLDERS = "keras_vit|training|export|tests|benchmarks|results|examples"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./]*\w)`")
LINKED = re.compile(r"\]\((?!https?:)([\w./]+)(?:#[\w-]+)?\)")
CONTRIBUTING = "CONTRIBUTING.md"


@pytest.mark.parametrize("page", (*PAGES, CONTRIBUTING))
def test_named_paths_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [path for path in NAMED.findall(text) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", (*PAGES, CONTRIBUTING))
def test_linked_files_exist(page):
    text, folder = (ROOT / page).read_text(encoding="utf-8"), (ROOT / page).parent
    assert [path for path in LINKED.findall(text) if not (folder / path).exists()] == []


def test_every_folder_of_the_code_is_described():
    text = (ROOT / CONTRIBUTING).read_text(encoding="utf-8")
    rooms = [path.parent for top in ("keras_vit", "training", "export") for path in (ROOT / top).glob("*/__init__.py")]
    assert [str(room.relative_to(ROOT)) for room in rooms if f"| `{room.relative_to(ROOT)}` |" not in text] == []
