"""Imports point one way and never in a circle, every module has its tests, every room says what belongs there."""

import ast
import configparser
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = {"keras_vit": "keras_vit", "training": "keras_vit.training", "export": "keras_vit.export"}
IN_THE_ROOT = {  # Python files that lie in a package itself; all others lie in its rooms
    "keras_vit": {"__init__.py", "__main__.py"},
    "training": {
        *("__init__.py", "trainer.py", "plan.py", "settings.py", "recipe.py", "finish.py", "decision.py", "dry_run.py"),
        *("setting_checks.py", "recall.py", "averaging.py", "lr_finder.py", "micro_batches.py"),
    },
    "export": {"__init__.py"},
}
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
FILES = sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))


def module_name(path, root=ROOT):
    """training/step/ema.py -> keras_vit.training.step.ema."""
    package, *rest = path.relative_to(root).with_suffix("").parts
    return ".".join([PACKAGES[package], *(part for part in rest if part != "__init__")])


MODULES = {module_name(path): path for path in FILES}


def imports(path, everywhere=True):
    """Absolute names that a module imports: in functions too, or only at its top."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(modules):
    """{module: the modules that it imports}; `from room import module` is an arrow to the module, not to the room."""
    found = {}
    for name, path in modules.items():
        targets = set(imports(path)) & set(modules) - {name}
        found[name] = {t for t in targets if not any(other.startswith(f"{t}.") for other in targets)}
    return found


def circle(graph):
    """The nodes of a circle, the first again at the end; None if there is none."""
    done, chain = set(), []

    def follow(node):
        if node in chain:
            return [*chain[chain.index(node) :], node]
        if node in done:
            return None
        chain.append(node)
        found = next(filter(None, map(follow, sorted(graph.get(node, ())))), None)
        chain.pop()
        done.add(node)
        return found

    return next(filter(None, map(follow, sorted(graph))), None)


def test_no_circle_of_imports():
    found = circle(arrows(MODULES))
    assert found is None, " -> ".join(found)


def test_no_circle_of_rooms():
    """The packages themselves are no rooms: keras_vit/__init__.py holds the version, trainer.py leads all rooms."""
    rooms = {}
    for name, targets in arrows(MODULES).items():
        room = MODULES[name].parent
        if room.parent != ROOT:
            others = {MODULES[target].parent for target in targets} - {room}
            rooms.setdefault(room, set()).update(other for other in others if other.parent != ROOT)
    found = circle(rooms)
    assert found is None, " -> ".join(str(room.relative_to(ROOT)) for room in found)


def test_a_circle_is_named(tmp_path):
    sources = {
        "keras_vit/a.py": "import keras_vit.b",
        "keras_vit/b.py": "def f():\n    from keras_vit.room import c",
        "keras_vit/room/__init__.py": "",
        "keras_vit/room/c.py": "from keras_vit.a import x",
        "keras_vit/d.py": "from keras_vit import a",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    modules = {module_name(path, tmp_path): path for path in sorted(tmp_path.rglob("*.py"))}
    assert circle(arrows(modules)) == ["keras_vit.a", "keras_vit.b", "keras_vit.room.c", "keras_vit.a"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
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


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_has_its_room(package):
    assert {path.name for path in (ROOT / package).glob("*.py")} == IN_THE_ROOT[package]


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=module_name)
def test_every_room_says_what_belongs_there(path):
    purpose = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
    assert purpose.endswith((".", ":")) and len(purpose) > 20, path


def test_every_module_has_its_tests():
    """keras_vit/layers/mlp.py has tests/layers/test_mlp.py; training/step/ema.py, tests/training/step/test_ema.py."""
    missing = []
    for path in FILES:
        name, parts = str(path.relative_to(ROOT)), path.relative_to(ROOT).parts
        folder = parts[1:-1] if parts[0] == "keras_vit" else parts[:-1]
        mirror = ELSEWHERE.get(name, "/".join((*folder, f"test_{path.name}")))
        if path.stem not in ("__init__", "__main__") and not (ROOT / "tests" / mirror).is_file():
            missing.append(name)
    assert missing == []


def test_every_package_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    assert listed == {module_name(path) for path in FILES if path.name == "__init__.py"}


# Neither macOS nor Windows is at hand: what they lack is hidden, and every module must still be importable.
ELSEWHERE_LACKING = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "resource", "syslog", "termios", "tty")
IMPORT_ALL = """
import importlib, signal, sys, os
for name in sys.argv[1].split(","):
    sys.modules[name] = None
import keras, tensorflow  # with their own imports done
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM"):
    vars(signal).pop(name, None)
for name in ("fork", "geteuid", "getuid", "killpg", "setsid", "sched_getaffinity", "getloadavg"):
    vars(os).pop(name, None)
failed = {}
for name in sys.argv[2].split(","):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
assert not failed, failed
"""


def test_every_module_imports_without_what_other_systems_lack():
    alone = {"keras_vit.__main__", "keras_vit.export.edge.example", "keras_vit.export.servers.client"}  # scripts
    names = ",".join(name for name in MODULES if name not in alone)
    command = [sys.executable, "-W", "ignore", "-c", IMPORT_ALL, ",".join(ELSEWHERE_LACKING), names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
