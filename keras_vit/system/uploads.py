"""Output at a URL: written on the local disk first, then uploaded so that a kill leaves what was there, or all of it.

An object appears as a whole, so a single file is simply uploaded. A folder is many objects, and nothing renames them
together; so the file `.complete.json` is uploaded last, with the name, size and sha256 of every other. Who reads the
folder (`downloaded`) takes what that file lists, and nothing else: before it is there, the folder as it was.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from keras_vit.system import places, remote
from keras_vit.system.files import cache_home, held, scratch_folder, sha256

MARKER = ".complete.json"
# Files that a folder counts by, for other readers; uploaded after the rest of it.
LAST = "saved_model.pb", "models.config", "report.json", "run.json", "index.json"


def working_folder(url):
    """The local folder in which the output for a URL is made, the same for every command."""
    return cache_home() / "outputs" / hashlib.sha256(places.plain(url).encode()).hexdigest()[:16]


@contextlib.contextmanager
def file_output(output, part=None):
    """Yield the local path to write a file to; what is there at the end is uploaded, if `output` is a URL.

    What else the work leaves beside it, to go on from after an interrupt, stays in the `working_folder`.

    Args:
        part: tells works apart that become different files of one name.

    Yields:
        `output` itself, if it is no URL.
    """
    if not places.is_remote(output):
        yield output
        return
    folder = working_folder(output if part is None else f"{output} {part}")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        yield str(folder / output.rpartition("/")[2])
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                _upload_result(path, places.inside(places.parent(output), path.name))


def _upload_result(path, url):
    try:
        remote.upload(path, url)
    except remote.UnreachableError as error:
        raise remote.UnreachableError(f"{error} The finished file is {path}: copy it to {url}.") from error
    path.unlink()


@contextlib.contextmanager
def folder_output(output, new=False):
    """Yield the local path of a folder to write, or to add to; it is uploaded at the end, if `output` is a URL.

    After an error in the block nothing is uploaded.

    Args:
        new: whether there must not be anything yet.

    Yields:
        `output` itself, if it is no URL.
    Raises:
        FileExistsError: with `new`, if there is something; also what an upload left that was interrupted.
    """
    if not places.is_remote(output):
        yield output
        return
    output = places.plain(output)
    with scratch_folder() as folder:
        local = folder / output.rpartition("/")[2]
        before = listed(output)
        if before and new:
            raise FileExistsError(f"{output} has files already; give another name or remove them first.")
        if before:
            downloaded(output, local, before)
        yield str(local)
        upload_folder(local, output, before)


def upload_folder(folder, url, before=None):
    """Upload what a folder has and the URL has not, the marker last; then remove there what the folder has no more.

    Args:
        before: {name: (size, sha256)} of what is there, as `listed` gives it; its files are not uploaded again.
    """
    before = before or {}
    files = described(folder)
    for name in sorted(files, key=lambda name: (name.rpartition("/")[2] in LAST, name)):
        if tuple(before.get(name, ())) != files[name]:
            remote.upload(folder / name, f"{url}/{name}")
    remote.write(f"{url}/{MARKER}", json.dumps(files, indent=1).encode())
    for name in before.keys() - files.keys():
        remote.remove(f"{url}/{name}")


def listed(url):
    """{name: (size, sha256)} of the files of a folder at a URL, as its marker lists them; sha256 is None without one.

    Raises:
        ValueError: if an upload was interrupted after it replaced a file; it names that.
    """
    objects = remote.objects(url)
    if MARKER not in objects:
        return {name: (facts.size, None) for name, facts in objects.items() if not _hidden(name)}
    try:
        files = {name: tuple(entry) for name, entry in json.loads(remote.read(f"{url}/{MARKER}")).items()}
    except ValueError as error:
        raise ValueError(f"{url}/{MARKER} is damaged ({error}). Write the folder again.") from error
    for name, (size, _) in files.items():
        if name not in objects or objects[name].size != size:
            raise _mixed(url, name)
    return files


def downloaded(url, folder, files):
    """Download files of a folder, {name: (size, sha256)}, and compare them.

    Raises:
        ValueError: naming a file that is another.
    """
    for name, (_, digest) in files.items():
        path = Path(folder) / name
        if not path.resolve().is_relative_to(Path(folder).resolve()):
            raise ValueError(f"{url} has the file {name!r}, which would lie outside of its folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        remote.download(f"{url}/{name}", path)
        if digest is not None and _described(path)[1] != digest:
            raise _mixed(url, name)


def _mixed(url, name):
    return ValueError(
        f"{url}/{name} is not the file that {MARKER} beside it lists: an upload was interrupted, or is going on. Give "
        "the command that writes the folder again."
    )


def described(folder):
    """{name: (size, sha256)} of the files below a folder."""
    return {name: _described(Path(folder) / name) for name in _names(folder)}


def _names(folder):
    """Names of the files below a folder, with slashes; hidden ones are of this machine."""
    names = (path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
    return sorted(name for name in names if not _hidden(name))


def _hidden(name):
    return any(part.startswith(".") for part in name.split("/"))


def _described(path):
    return os.path.getsize(path), sha256(path)
