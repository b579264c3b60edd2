"""Arrows between the packages point one way, and every module has its tests."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = {"keras_vit": "keras_vit", "training": "keras_vit.training", "export": "keras_vit.export"}
ELSEWHERE = {  # modules whose tests stand in a file of another name
    "keras_vit/cli/list.py": "cli/test_zoo_verbs.py",
    "keras_vit/cli/info.py": "cli/test_zoo_verbs.py",
    "keras_vit/cli/download.py": "cli/test_zoo_verbs.py",
    "keras_vit/cli/export.py": "export/test_verbs.py",
    "keras_vit/cli/convert.py": "export/test_verbs.py",
    "keras_vit/cli/compare.py": "export/test_verbs.py",
    "keras_vit/layers/layer_scale.py": "layers/test_mlp.py",
    "keras_vit/models/family.py": "models/test_contract.py",
}
RECIPES = (ROOT / "training" / "recipes").glob("*.py")
ELSEWHERE |= {str(path.relative_to(ROOT)): "training/recipes/test_all.py" for path in RECIPES}
MODULES = sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))


def imports(path, everywhere):
    """Absolute names that a module imports: at its top, or `everywhere` in functions too."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path):
    package = path.relative_to(ROOT).parts[0]
    forbidden = {
        "keras_vit": ("keras_vit.training", "keras_vit.export", "training", "export"),
        "training": ("keras_vit.export", "keras_vit.cli", "training", "export"),
        "export": ("keras_vit.training", "keras_vit.cli", "training", "export"),
    }[package]
    verb = path.is_relative_to(ROOT / "keras_vit" / "cli")  # a verb may reach out, inside its function
    for name in imports(path, everywhere=not verb):
        assert not any(name == other or name.startswith(other + ".") for other in forbidden), name


@pytest.mark.parametrize(
    "path", sorted((ROOT / "keras_vit").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_tensorflow_at_the_top(path):
    assert not [name for name in imports(path, everywhere=False) if name.split(".")[0] == "tensorflow"]


def test_every_module_has_its_tests():
    """keras_vit/layers/mlp.py <-> tests/layers/test_mlp.py; training/data.py <-> tests/training/test_data.py."""
    missing = []
    for path in MODULES:
        name, parts = str(path.relative_to(ROOT)), path.relative_to(ROOT).parts
        folder = parts[1:-1] if parts[0] == "keras_vit" else parts[:-1]
        mirror = ELSEWHERE.get(name, "/".join((*folder, f"test_{path.name}")))
        if path.stem not in ("__init__", "__main__") and not (ROOT / "tests" / mirror).is_file():
            missing.append(name)
    assert missing == []


def test_every_package_is_installed():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = {".".join([PACKAGES[p.relative_to(ROOT).parts[0]], *p.relative_to(ROOT).parts[1:-1]]) for p in MODULES}
    assert listed == found
