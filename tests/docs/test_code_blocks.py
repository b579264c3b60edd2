"""What the pages tell their readers to type works: Python, commands, and the options of those that cannot run here."""

import argparse
import importlib
import os
import subprocess
import sys

import pytest
import yaml

from keras_vit.cli.main import VERBS
from tests.docs import page as pages
from tests.docs import reader
from tests.docs.blocks import LANGUAGES, PAGES, ROOT, blocks

QUICK = ("docs/families.md", "docs/formats.md", "docs/migrating.md", "docs/looking_inside.md")  # their Python
QUICK += ("docs/embedding.md", "docs/hub.md", "docs/coming_from_tfvit.md", "docs/leaving.md")
WITH_CODE = [page for page in PAGES if any(block.language in ("python", "shell") for block in blocks(page))]
BEGIN_WITH_A_RUN = (
    "docs/edge.md",
    "docs/embedding.md",
    "docs/engines.md",
    "docs/hub.md",
    "docs/looking_inside.md",
    "docs/many_images.md",
    "docs/serving.md",
)
ON_THE_HUB = {"docs/hub.md": "me/photos"}  # a repository that a page opens; it holds the run
FOLDERS = {"docs/coming_from_tfvit.md": ("my-tf-vit", "TFViTForImageClassification")}  # of tests/golden/libraries.zip
WEIGHTS = {  # published files that a page loads
    "README.md": ("SwinT",),
    "docs/training.md": ("SwinT",),
    **dict.fromkeys(("docs/getting_started.md", "docs/fine_tuning.md", "docs/migrating.md"), ("ViTTi16",)),
}


class Parsed(Exception):
    """The arguments of a command are those that its parser knows."""


def parse_only(monkeypatch):
    """Every ArgumentParser stops the command once it has parsed."""

    def parse_args(self, args=None, namespace=None):
        found, unknown = self.parse_known_args(args, namespace)
        raise Parsed if not unknown else ValueError(f"{self.prog}: unknown arguments {unknown}")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)


def test_there_are_blocks():
    assert len(WITH_CODE) >= 9 and sum(len(blocks(page)) for page in PAGES) >= 30


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    assert [block.place for block in blocks(page) if block.language not in LANGUAGES] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_the_options_they_are_given(page, monkeypatch):
    for block in blocks(page):
        for verb, *arguments in block.commands():
            module = importlib.import_module(f"keras_vit.cli.{VERBS[verb][0]}")
            if verb == "train":
                module.parse(arguments)
                continue
            with monkeypatch.context() as patch, pytest.raises(Parsed):
                parse_only(patch)
                module.main(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_scripts_for_other_machines_have_no_syntax_errors(page):
    for block in blocks(page):
        if block.language == "bash":
            checked = subprocess.run(["bash", "-n"], input=block.code, text=True, capture_output=True)
            assert checked.returncode == 0, f"{block.place}: {checked.stderr}"
        elif block.language == "yaml":
            assert all(yaml.safe_load_all(block.code)), block.place


@pytest.mark.parametrize("page", QUICK)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    reader.write_cache(tmp_path / "hub", WEIGHTS.get(page, ()))
    reader.write_images(tmp_path, count=1)
    reader.write_folder(tmp_path, *FOLDERS.get(page, ()))
    if page in BEGIN_WITH_A_RUN:
        reader.write_run(tmp_path, epochs=0)
    if page in ON_THE_HUB:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        reader.write_repository(tmp_path / "hub", ON_THE_HUB[page], tmp_path / "runs" / "photos")
    pages.run(page, tmp_path, ("python",))


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE)
def test_the_page_runs(page, tmp_path):
    """From an empty folder, in a process of its own: nothing but the reader's images, and the cache of the hub."""
    reader.write_cache(tmp_path / "cache" / "hub", WEIGHTS.get(page, ()))
    reader.write_images(tmp_path)
    reader.write_folder(tmp_path, *FOLDERS.get(page, ()))
    if page in BEGIN_WITH_A_RUN:
        reader.write_run(tmp_path, epochs=20)
    if page in ON_THE_HUB:
        reader.write_repository(tmp_path / "cache" / "hub", ON_THE_HUB[page], tmp_path / "runs" / "photos")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-m", "tests.docs.page", page, tmp_path], cwd=ROOT, env=environment, check=True)
