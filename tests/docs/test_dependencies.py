"""docs/dependencies.md names what setup.cfg requires."""

import configparser
import re

from tests.docs.blocks import ROOT

TOOLS = ("dev", "docs", "jax", "plots")  # extras for working on the library, or parts of others
TEXT = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")


def requirements():
    """{extra, or "" for the base: the packages that it names}."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {name: re.findall(r"^([A-Za-z][\w.-]*(?:\[[\w-]+\])?)", text, re.MULTILINE) for name, text in lists.items()}


def test_every_package_of_the_base_is_named():
    assert requirements()[""] and [name for name in requirements()[""] if f"`{name}`" not in TEXT] == []


def test_every_extra_is_named():
    assert [name for name in requirements() if name and name not in TOOLS and f"`[{name}]`" not in TEXT] == []
