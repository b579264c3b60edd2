import json
import shutil

import pytest

from keras_vit.export.web import runtime


def write_package(folder, version=runtime.VERSION, name=runtime.PACKAGE):
    """What `npm install @litertjs/core` leaves in a folder, with files of a few bytes."""
    core, utilities = (folder / "node_modules" / package for package in (runtime.PACKAGE, runtime.UTILITIES))
    for path in (core / "dist/index.js", utilities / "dist/index.js", *(core / one for one in runtime.WASM)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the content of {path.name}")
    (core / "package.json").write_text(json.dumps({"name": name, "version": version}))
    return folder


@pytest.mark.parametrize("inside", ["", f"node_modules/{runtime.PACKAGE}"])
def test_a_package_is_found_where_npm_puts_it(tmp_path, inside):
    found = runtime.from_folder(write_package(tmp_path, "2.9.0") / inside)
    assert found.version == "2.9.0" and found.local
    assert set(found.imports) == {"@litertjs/core", "@litertjs/wasm-utils"}
    named = {f"./{name}" for name in found.files}
    assert set(found.imports.values()) <= named and all(path.is_file() for path in found.files.values())
    assert sum(name.startswith(found.wasm) for name in found.files) == 8


def test_utilities_may_lie_inside_the_package(tmp_path):
    modules = write_package(tmp_path) / "node_modules"
    shutil.move(modules / "@litertjs/wasm-utils", modules / "@litertjs/core/node_modules/@litertjs/wasm-utils")
    found = runtime.from_folder(modules / "@litertjs/core")
    assert found.files["litert/wasm-utils.js"].parts[-4:] == ("@litertjs", "wasm-utils", "dist", "index.js")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not the npm package @litertjs/core.*npm install @litertjs/core@"):
        runtime.from_folder(tmp_path)
    with pytest.raises(ValueError, match="is not the npm package"):
        runtime.from_folder(write_package(tmp_path, name="@litertjs/other"))


def test_another_major_version_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"@litertjs/core 0.2.1; the page is for version 2 \("):
        runtime.from_folder(write_package(tmp_path, "0.2.1"))


@pytest.mark.parametrize("lost", ["core/wasm/litert_wasm_threaded_internal.wasm", "core/dist/index.js", "wasm-utils"])
def test_what_is_missing_is_named(tmp_path, lost):
    path = write_package(tmp_path) / "node_modules/@litertjs" / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(ValueError, match=lost.rpartition("/")[2]):
        runtime.from_folder(tmp_path)


def test_the_cdn_is_asked_for_the_tested_version_alone():
    found = runtime.from_cdn()
    addresses = [*found.imports.values(), found.wasm]
    assert not found.local and all(one.startswith("https://") and f"@{runtime.VERSION}/" in one for one in addresses)
