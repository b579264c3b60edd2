"""LiteRT.js, which the page runs the model with: copied from its npm packages, or loaded from a CDN at every visit."""

import json
from dataclasses import dataclass, field
from pathlib import Path

VERSION = "2.5.3"  # with which the page was tested, and which it asks the CDN for
CDN = "https://cdn.jsdelivr.net/npm/@litertjs/"
PACKAGE, UTILITIES = "@litertjs/core", "@litertjs/wasm-utils"  # the second is what the first imports
FOLDER = "litert"  # in the page's folder
VARIANTS = ("", "_compat", "_threaded", "_jspi")  # usual; older browsers; several threads; GPU with gaps
WASM = tuple(f"wasm/litert_wasm{variant}_internal.{end}" for variant in VARIANTS for end in ("js", "wasm"))


@dataclass(frozen=True)
class Runtime:
    """Where the page finds LiteRT.js."""

    version: str
    imports: dict  # the page's import map: a package's name -> the address of its module
    wasm: str  # the address of the folder of the WebAssembly files
    files: dict = field(default_factory=dict)  # name below the page's folder -> the file to copy; none of the CDN's

    @property
    def local(self):
        """Whether it is in the page's folder."""
        return bool(self.files)


def from_cdn():
    """The runtime that every visitor's browser loads from the CDN."""
    core, utilities = f"{CDN}core@{VERSION}/", f"{CDN}wasm-utils@{VERSION}/"
    imports = {PACKAGE: f"{core}dist/index.js", UTILITIES: f"{utilities}dist/index.js"}
    return Runtime(VERSION, imports, f"{core}wasm/")


def from_folder(folder):
    """The runtime of an npm package on the disk.

    Args:
        folder: node_modules/@litertjs/core, or the folder in which `npm install @litertjs/core` was called.

    Raises:
        ValueError: if it is not that package, of another major version, or incomplete.
    """
    folder = Path(folder)
    inside = folder / "node_modules" / PACKAGE
    core = inside if inside.is_dir() else folder
    version = _version(core)
    utilities = next(filter(Path.is_dir, (core / "node_modules" / UTILITIES, core.parent / "wasm-utils")), None)
    if utilities is None:
        raise ValueError(
            f"{UTILITIES}, which {PACKAGE} needs, is not beside {core}. `npm install {PACKAGE}@{VERSION}` brings both; "
            "name the folder in which it was called."
        )
    found = {f"{FOLDER}/core.js": core / "dist/index.js", f"{FOLDER}/wasm-utils.js": utilities / "dist/index.js"}
    found |= {f"{FOLDER}/{name}": core / name for name in ("package.json", *WASM)}
    missing = [str(path) for path in found.values() if not path.is_file()]
    if missing:
        raise ValueError(f"{core} is incomplete: {missing[0]} is missing. `npm install {PACKAGE}@{VERSION}` brings it.")
    imports = {PACKAGE: f"./{FOLDER}/core.js", UTILITIES: f"./{FOLDER}/wasm-utils.js"}
    return Runtime(version, imports, f"{FOLDER}/wasm/", found)


def _version(core):
    """The version of the package in a folder."""
    described = core / "package.json"
    try:
        entries = json.loads(described.read_text(encoding="utf-8"))
        name, version = entries["name"], entries["version"]
    except (OSError, ValueError, KeyError, TypeError):
        name, version = None, None
    if name != PACKAGE:
        raise ValueError(
            f"{core} is not the npm package {PACKAGE}: its package.json must say so. Expected node_modules/{PACKAGE}, "
            f"as `npm install {PACKAGE}@{VERSION}` makes it, or the folder in which that was called."
        )
    if str(version).split(".")[0] != VERSION.split(".")[0]:
        raise ValueError(f"{core} is {PACKAGE} {version}; the page is for version {VERSION.split('.')[0]} ({VERSION}).")
    return str(version)
