"""Models of the Hugging Face hub by reference: hf://owner/name, hf://owner/name/folder, each with @revision or without.

`huggingface_hub` does the talking and keeps the files in its cache: HF_HOME, HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN
work as there. What a repository holds is listed first, and of that only what its model needs is downloaded. Without a
revision that is the newest commit of the main branch, or, where the hub cannot be reached, the newest in the cache.
"""

import contextlib
import functools
import glob
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from keras_vit.sources.answers import ANSWERS
from keras_vit.sources.run_folder import LABELS, MODEL, RESULTS, RUN, SPEC
from keras_vit.system import bounded_json
from keras_vit.system.limits import MAX_HEADER
from keras_vit.weights import download
from keras_vit.weights.entries import damaged, reading

log = logging.getLogger("keras_vit")
PREFIX = "hf://"
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"  # of transformers; timm has the first alone
INDEX = ".index.json"  # ending of the file that says which shard has which weights
LIBRARY_WEIGHTS = (  # of transformers and timm; the first that there is
    *("model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}"),
    "tf_model.h5",
)
SINGLE = (".keras", ".tflite", ".safetensors", ".npz", ".pth", ".pt", ".tar", ".bin", ".h5")  # files that stand alone
_NO_OWNERS = ("datasets", "spaces", "models", "kernels", "buckets", "api")  # what else the hub's paths begin with
_NAME = re.compile(r"(?!.*(--|\.\.))\w([\w.-]*\w)?", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[^\s/\\\0-\x1f][^\s\\\0-\x1f]*")
_INSIDE = re.compile(r"(?!.*(^|/)\.{0,2}(/|$))[^\\\0-\x1f]+")
_TIMEOUT = 30  # seconds without a response
_SHOWN = 8  # names of files in an error


@dataclass(frozen=True)
class Reference:
    """What hf://owner/name/inside@revision says."""

    repository: str  # owner/name
    inside: str = ""  # a folder or a file of it; "" for its root
    revision: str | None = None

    def __str__(self):
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repository}{'/' if self.inside else ''}{self.inside}{revision}"


def is_reference(given):
    """Whether something is meant as a reference, well formed or not."""
    return isinstance(given, str) and given.startswith(PREFIX)


def parse(reference):
    """The `Reference` of a text.

    Raises:
        ValueError: for another form.
    """
    path, at, revision = reference.removeprefix(PREFIX).partition("@")
    owner, name, inside = [*path.split("/", 2), "", ""][:3]
    good = is_reference(reference) and is_repository(f"{owner}/{name}") and (not at or _REVISION.fullmatch(revision))
    if not good or path.count("/") > 1 and not _INSIDE.fullmatch(inside):
        raise ValueError(
            "A model of the hub is hf://owner/name or hf://owner/name@revision, with a branch, a tag or a commit. "
            f"Received: {str(reference)[:200]!r}."
        )
    return Reference(f"{owner}/{name}", inside, revision or None)


def is_repository(text):
    """Whether a text has the form owner/name."""
    owner, _, name = text.partition("/")
    return bool(_NAME.fullmatch(owner) and _NAME.fullmatch(name)) and owner not in _NO_OWNERS


def folder(reference, *, cache_dir=None):
    """The local folder of a reference's model, downloaded unless it is in the cache; or the file that it stands for.

    It stands for a file where it names one, and where the repository holds a single file of a model beside none of a
    run or of another library.

    Args:
        reference: text, see `parse`.
        cache_dir: instead of huggingface_hub's cache.

    Raises:
        ValueError: for another form, for a repository that is gated, private or missing, for a revision that is not
            there, for a repository without a model or with several, and for a file that is not the published one.
        ConnectionError: if the hub cannot be reached, and the model is not in the cache.
    """
    asked = parse(reference)
    if download.is_offline():
        return _cached(asked, cache_dir, "HF_HUB_OFFLINE is set")
    try:
        names, commit = _listed(asked)
    except ConnectionError as error:
        path = _cached(asked, cache_dir, error)
        log.warning("%s: the hub cannot be reached; its files are those of the cache.", asked)
        return path
    chosen = needed(names, asked)
    if chosen[0].endswith(INDEX):
        index = _downloaded(asked, chosen[:1], commit, cache_dir) / chosen[0]
        chosen += _present(_shards(index), chosen[0].rpartition("/")[0], names)
    return _place(asked, chosen, _downloaded(asked, chosen, commit, cache_dir))


def needed(names, asked):
    """The files of a repository that its model needs, the weights first; for weights in shards, their index.

    Args:
        names: paths of all its files.
        asked: the `Reference`.

    Raises:
        ValueError: if there is no model, or more than one.
    """
    if asked.inside in names:
        return [asked.inside, *_present((SPEC, LABELS, ANSWERS), asked.inside.rpartition("/")[0], names)]
    here = [name.rpartition("/")[2] for name in names if name.rpartition("/")[0] == asked.inside]
    weights = [name for name in LIBRARY_WEIGHTS if name in here]
    if MODEL in here:
        return _present((MODEL, RUN, SPEC, LABELS, RESULTS), asked.inside, names)
    if weights and CONFIG in here:
        return _present((weights[0], CONFIG, PREPROCESSOR, SPEC, LABELS), asked.inside, names)
    for suffix in SINGLE:
        files = sorted(name for name in here if name.lower().endswith(suffix))
        if len(files) == 1:
            return _present((files[0], SPEC, LABELS, ANSWERS), asked.inside, names)
        if files:
            first = Reference(asked.repository, _join(asked.inside, files[0]), asked.revision)
            raise ValueError(f"{asked} has several models: {_few(files)}. Name one of them, e.g. {first}.")
    raise ValueError(
        f"{asked} has no weights that are read here. Expected a run ({MODEL}, {RUN}), a folder of transformers or timm "
        f"({CONFIG} with {LIBRARY_WEIGHTS[0]}, {LIBRARY_WEIGHTS[2]} or {LIBRARY_WEIGHTS[4]}), or one file that ends in "
        f"{', '.join(SINGLE)}. It has: {_few(sorted(here or names))}."
    )


def _present(files, inside, names):
    """The paths of those files of a folder that are there, each once."""
    return [path for path in dict.fromkeys(_join(inside, file) for file in files) if path in names]


def _join(inside, name):
    return f"{inside}/{name}" if inside else name


def _few(names):
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(name[:100] for name in names[:_SHOWN])}{more}" if names else "nothing"


def _shards(index):
    """The files' names in an index of shards, which lie beside it; whether all are there, the reader sees."""
    if index.stat().st_size > MAX_HEADER:
        raise damaged(index, f"at most {MAX_HEADER:,} bytes", f"{index.stat().st_size:,}")
    with reading(index, "an index of shards"):
        files = sorted({str(file) for file in bounded_json.parse(index.read_bytes())["weight_map"].values()})
    return [file for file in files if "/" not in file and "\\" not in file]


# --------------------------------------------------------------------------------------------- the hub


def _listed(asked):
    """The paths of all files of a repository, a set, and the number of its commit."""
    from huggingface_hub import HfApi

    with explained(asked):
        info = HfApi(endpoint=download.endpoint()).model_info(
            asked.repository, revision=asked.revision, timeout=_TIMEOUT
        )
    return {file.rfilename for file in info.siblings or ()}, info.sha


def _downloaded(asked, files, commit, cache_dir):
    """The snapshot's folder, with those files in it, verified; what the cache has of the commit is not asked for."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    revision = asked.revision or "main"
    found = [try_to_load_from_cache(asked.repository, file, cache_dir, revision) for file in files]
    snapshot = str(found[0]).removesuffix(files[0].replace("/", os.sep))
    complete = Path(snapshot).name == commit and all(isinstance(path, str) for path in found)
    if not complete:
        with explained(asked):
            snapshot = snapshot_download(
                asked.repository,
                revision=revision,
                cache_dir=cache_dir,
                endpoint=download.endpoint(),
                allow_patterns=[glob.escape(file) for file in files],
            )
    for file in files:
        _verify(Path(snapshot) / file)
    return Path(snapshot)


def _cached(asked, cache_dir, reason):
    """The same from the cache alone; a ConnectionError if it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(
            asked.repository,
            revision=asked.revision,
            cache_dir=cache_dir,
            local_files_only=True,
            allow_patterns=[""],  # whether all of the repository is there does not matter
        )
        names = {os.path.relpath(path, snapshot).replace(os.sep, "/") for path in Path(snapshot).rglob("*")}
        chosen = needed(names, asked)
    except (LocalEntryNotFoundError, ValueError) as error:
        raise _unreachable(asked, f"{reason}, and the cache does not have it") from error
    for file in chosen:
        _verify(Path(snapshot) / file)
    return _place(asked, chosen, Path(snapshot))


def _place(asked, chosen, snapshot):
    """The folder of the chosen files, or the file that stands for the model."""
    alone = asked.inside == chosen[0] or not {MODEL, CONFIG} & {file.rpartition("/")[2] for file in chosen}
    return snapshot / (chosen[0] if alone else asked.inside)


def _verify(path):
    """Compare a file with its checksum; what was compared in this process is not read again while it stays the same."""
    if not path.is_file():
        raise ConnectionError(f"{path} is not there: the repository changed during the download. Try again.")
    status = path.stat()
    try:
        _compare(path, status.st_size, status.st_mtime_ns)
    except ValueError as error:
        path.resolve().unlink(missing_ok=True)  # the blob that the snapshot links to
        path.unlink(missing_ok=True)
        raise ValueError(f"{error} (It is deleted now.)") from error


@functools.lru_cache(maxsize=1024)
def _compare(path, size, time):
    download.check_blob(path)


@contextlib.contextmanager
def explained(asked):
    """Inside, errors of `huggingface_hub` become those that say what to do.

    Raises:
        ValueError: for what asking again does not help.
        ConnectionError: for the rest.
    """
    from huggingface_hub import errors

    url = f"{download.endpoint() or 'https://huggingface.co'}/{asked.repository}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{asked} is gated: its owner lets those in who accept its licence. Accept it at {url}, then sign in with "
            "`hf auth login`, or put a token of your account into HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"{asked}: the repository has no such branch, tag or commit. {url}/commits/main lists what it has."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"{asked}: there is no such repository at {url}, or it is private. Check its name; for a private one sign "
            "in with `hf auth login`, or put a token of an account that may see it into HF_TOKEN."
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status not in (401, 403):
            raise _unreachable(asked, f"{url}: {first_line(error)}") from error
        raise ValueError(
            f"{asked}: the hub refuses the token ({status}). Sign in with `hf auth login`, or put a valid token into "
            "HF_TOKEN, or none."
        ) from error
    except (OSError, download.http_error()) as error:
        raise _unreachable(asked, f"{url}: {first_line(error)}") from error


def first_line(error):
    """What an error of the hub says, in short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _unreachable(asked, reason):
    return ConnectionError(
        f"{asked} could not be downloaded ({reason}). Check the network; or set HF_ENDPOINT to a mirror of the hub; or "
        "download it where there is a network and copy the cache (HF_HOME), for HF_HUB_OFFLINE=1."
    )
