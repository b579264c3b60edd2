"""Fetch published weights once, check them, keep them; no file's name ever stands for half of it.

Hub files live in huggingface_hub's cache (HF_HOME, HF_HUB_OFFLINE and HF_ENDPOINT mean what they
mean there), where a large file is named by its sha256. Official files live in `$KERAS_VIT_HOME`
(~/.cache/keras_vit), under the host and path of their URL, each beside a `.sha256` written when it
arrived. Either is checked again at each use.
"""

import hashlib
import http.client
import os
import pathlib
import re
import urllib.error
import urllib.parse
import urllib.request

from keras_vit.files import atomic_file

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT = 30  # seconds without an answer
_CHUNK = 1 << 20  # bytes
_BY_HAND = ("drive.google.com", "docs.google.com", "pan.baidu.com", "1drv.ms", "onedrive.live.com")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(row, *, official=False, cache_dir=None):
    """Return the local path of a catalogue row's weights, downloaded unless they are here already.

    Args:
        row: a `keras_vit.weights.catalogue.Row`.
        official: take the official file even where the hub has a copy.
        cache_dir: folder to keep the file in instead of the usual cache.
    Raises: ConnectionError if it cannot be reached; ValueError if the file is not what was
        announced.
    """
    if row.hub_id and not official:
        preferred = (row.hub_file, *(name for name in HUB_FILES if name != row.hub_file))
        return fetch_hub(row.hub_id, preferred, cache_dir=cache_dir)
    if not row.url:
        raise ValueError(
            f"{row.name}: expected an official URL in the catalogue. Received: none. Use the hub's" " copy."
        )
    return fetch_url(row.url, cache_dir=cache_dir)


# ---------------------------------------------------------------------------------------------- hub


def fetch_hub(hub_id, filenames=HUB_FILES, *, cache_dir=None):
    """Return the local path of the first of `filenames` that a hub repository has.

    A file in the cache is taken from there without asking the hub.
    """
    path = _cached(hub_id, filenames, cache_dir)
    if path is not None:
        _check_blob(path)
        return path
    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE"):
        raise _unreachable(
            filenames[0],
            _hub_url(hub_id, filenames[0]),
            "HF_HUB_OFFLINE is set, and it is not cached",
        )
    for name in filenames:
        metadata = _metadata(hub_id, name)
        if metadata is not None:
            return _from_hub(hub_id, name, metadata, cache_dir)
    raise FileNotFoundError(
        f"{_hub_url(hub_id, filenames[0])}: the repository {hub_id} has none of"
        f" {', '.join(filenames)}. Choose another tag, or pass the path of a file as weights=."
    )


def _cached(hub_id, filenames, cache_dir):
    from huggingface_hub import try_to_load_from_cache

    for name in filenames:
        path = try_to_load_from_cache(hub_id, name, cache_dir=cache_dir)
        if isinstance(path, str):
            return pathlib.Path(path)
    return None


def _metadata(hub_id, name):
    """Return the size and etag that the hub announces for a file, None if it has no such file."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import EntryNotFoundError

    url = _hub_url(hub_id, name)
    try:
        return get_hf_file_metadata(url, timeout=_TIMEOUT)
    except EntryNotFoundError:
        return None
    except (OSError, _http_error()) as error:
        raise _unreachable(name, url, error) from error


def _from_hub(hub_id, name, metadata, cache_dir):
    """Download one file of a repository and compare it with what was announced."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = pathlib.Path(hf_hub_download(hub_id, name, cache_dir=cache_dir, endpoint=_endpoint()))
    except (ConnectionError, TimeoutError, LocalEntryNotFoundError, _http_error()) as error:
        raise _unreachable(name, _hub_url(hub_id, name), error) from error
    size = path.stat().st_size
    try:
        if metadata.size is not None and size != metadata.size:
            raise _wrong(path, f"{metadata.size} bytes", f"{size}")
        _check_sha256(path, metadata.etag)
    except ValueError:
        path.resolve().unlink(missing_ok=True)  # the blob the snapshot links to
        path.unlink(missing_ok=True)
        raise
    return path


def _check_blob(path):
    """Compare a file of the hub's cache with the sha256 it is named by, where there are links."""
    _check_sha256(path, path.resolve().name)


def _check_sha256(path, expected):
    """Compare if `expected` is a sha256: small files of the hub have another kind of etag."""
    if expected and _SHA256.fullmatch(expected) and (found := sha256(path)) != expected:
        raise _wrong(path, f"sha256 {expected}", found)


def _hub_url(hub_id, name):
    from huggingface_hub import hf_hub_url

    return hf_hub_url(hub_id, name, endpoint=_endpoint())


def _endpoint():
    return os.environ.get("HF_ENDPOINT") or None


def _http_error():
    """Return the base of the errors of huggingface_hub's HTTP client; which, depends on version."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


# ----------------------------------------------------------------------------------- official files


def fetch_url(url, *, cache_dir=None):
    """Return the local path of an official file, downloaded unless it is cached and unchanged."""
    parts = urllib.parse.urlsplit(url)
    path = _place(parts, cache_dir)
    if path.is_file():
        _check_again(path)
        return path
    if parts.hostname in _BY_HAND:
        raise ValueError(
            f"{parts.hostname} hands files only to a browser: download {url} by hand and pass its" " path as weights=."
        )
    digest = hashlib.sha256()
    with atomic_file(path) as temporary:
        with _answer(url, path.name) as answer, open(temporary, "wb") as file:
            _copy(answer, file, digest, url)
        # Its sum first: a file that is in its place always has one.
        _write_sum(path, digest.hexdigest())
    return path


def _place(parts, cache_dir):
    """Return where a URL's file is kept: its host and path as folders, since file names repeat."""
    home = os.environ.get("KERAS_VIT_HOME") or pathlib.Path.home() / ".cache" / "keras_vit"
    folder = pathlib.Path(cache_dir or pathlib.Path(home).expanduser() / "weights")
    steps = [step for step in urllib.parse.unquote(parts.path).split("/") if step not in ("", ".", "..")]
    if not steps:
        raise ValueError(f"Expected the URL of a file. Received: {urllib.parse.urlunsplit(parts)}.")
    return folder.joinpath(parts.netloc.replace(":", "_"), *steps)


def _answer(url, name):
    """Return the open answer of a server; a web page instead of a file is refused."""
    try:
        answer = urllib.request.urlopen(url, timeout=_TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise _unreachable(name, url, error) from error
    if answer.headers.get_content_type() == "text/html":
        answer.close()
        raise _unreachable(name, url, "a web page came instead of the file")
    return answer


def _copy(answer, file, digest, url):
    """Copy an answer to a file; one that ends before its announced length is an error."""
    announced, received = answer.headers.get("Content-Length"), 0
    while chunk := _next_chunk(answer, url):
        file.write(chunk)
        digest.update(chunk)
        received += len(chunk)
    if announced is not None and received != int(announced):
        raise _unreachable(pathlib.PurePosixPath(url).name, url, f"{received} of {announced} bytes came")


def _next_chunk(answer, url):
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(pathlib.PurePosixPath(url).name, url, error) from error


def _sum_path(path):
    return path.with_name(path.name + ".sha256")


def _write_sum(path, digest):
    with atomic_file(_sum_path(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def _check_again(path):
    """Compare a cached file with its sum; one that was put there by hand gets its sum now."""
    kept = _sum_path(path)
    if not kept.is_file():
        _write_sum(path, sha256(path))
        return
    expected, found = kept.read_text(encoding="utf-8").split()[:1], sha256(path)
    if expected != [found]:
        raise _wrong(path, f"sha256 {''.join(expected)}", found)


# ------------------------------------------------------------------------------------------- common


def sha256(path):
    """Return the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(path, expected, found):
    return ValueError(
        f"{path} is not what was published: expected {expected}. Received: {found}. Delete it and" " try again."
    )


def _unreachable(name, url, reason):
    return ConnectionError(
        f"{name} could not be fetched from {url} ({reason}): pass a file you have as weights=path,"
        " fill the cache and set HF_HUB_OFFLINE=1, or name a mirror of the hub in HF_ENDPOINT."
    )
