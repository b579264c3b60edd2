"""Download published weights once, verify them and cache them; a file in the cache is always complete.

Hub files are in huggingface_hub's cache (HF_HOME, HF_HUB_OFFLINE and HF_ENDPOINT work as there), where a large file is
named by its sha256. Official files are in `$KERAS_VIT_HOME` (~/.cache/keras_vit), under the host and path of their URL,
each beside a `.sha256` written at its download. Both are verified again at each use.
"""

import hashlib
import http.client
import os
import pathlib
import re
import urllib.error
import urllib.parse
import urllib.request

from keras_vit.system.files import atomic_file, cache_home, sha256

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT = 30  # seconds without a response
_CHUNK = 1 << 20  # bytes
_BY_HAND = ("drive.google.com", "docs.google.com", "pan.baidu.com", "1drv.ms", "onedrive.live.com")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(row, *, official=False, cache_dir=None):
    """The local path of a catalogue row's weights, downloaded unless they are cached.

    Args:
        row: a `keras_vit.weights.catalogue.Row`.
        official: take the official file even where the hub has a copy.
        cache_dir: folder of the file, instead of the usual cache.

    Raises:
        ConnectionError: if the file cannot be downloaded.
        ValueError: if it is not the published file.
    """
    if row.hub_id and not official:
        preferred = (row.hub_file, *(name for name in HUB_FILES if name != row.hub_file))
        return fetch_hub(row.hub_id, preferred, cache_dir=cache_dir)
    if not row.url:
        raise ValueError(f"{row.name}: expected an official URL in the catalogue. Received: none. Use the hub's copy.")
    return fetch_url(row.url, cache_dir=cache_dir)


# ---------------------------------------------------------------------------------------------- hub


def fetch_hub(hub_id, filenames=HUB_FILES, *, cache_dir=None):
    """The local path of the first of `filenames` that a hub repository has.

    A cached file is used without a request to the hub.

    Raises:
        ConnectionError: if the hub cannot be reached.
        FileNotFoundError: if the repository has none of the files.
        ValueError: if the file is not the published one.
    """
    path = _cached(hub_id, filenames, cache_dir)
    if path is not None:
        check_blob(path)
        return path
    if is_offline():
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
    """Size and etag of a file on the hub, None if it has no such file."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import EntryNotFoundError

    url = _hub_url(hub_id, name)
    try:
        return get_hf_file_metadata(url, timeout=_TIMEOUT)
    except EntryNotFoundError:
        return None
    except (OSError, http_error()) as error:
        raise _unreachable(name, url, error) from error


def _from_hub(hub_id, name, metadata, cache_dir):
    """Download one file of a repository and compare it with its metadata."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = pathlib.Path(hf_hub_download(hub_id, name, cache_dir=cache_dir, endpoint=endpoint()))
    except (ConnectionError, TimeoutError, LocalEntryNotFoundError, http_error()) as error:
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


def check_blob(path):
    """Compare a file of the hub's cache with its blob's name, a sha256, where the cache has links.

    Raises:
        ValueError: if the file is another.
    """
    _check_sha256(path, path.resolve().name)


def _check_sha256(path, expected):
    """Compare if `expected` is a sha256; the etag of small files on the hub is not."""
    if expected and _SHA256.fullmatch(expected) and (found := sha256(path)) != expected:
        raise _wrong(path, f"sha256 {expected}", found)


def _hub_url(hub_id, name):
    from huggingface_hub import hf_hub_url

    return hf_hub_url(hub_id, name, endpoint=endpoint())


def is_offline():
    """Whether HF_HUB_OFFLINE is set: then nothing is asked of the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")


def endpoint():
    """The URL of the hub, where HF_ENDPOINT names another; else None."""
    return os.environ.get("HF_ENDPOINT") or None


def http_error():
    """The base class of the errors of huggingface_hub's HTTP client, which depends on the version."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0]


# ----------------------------------------------------------------------------------- official files


def fetch_url(url, *, cache_dir=None):
    """The local path of an official file, downloaded unless it is cached.

    Raises:
        ConnectionError: if it cannot be downloaded.
        ValueError: if the cached file was changed, or the host serves files only to browsers.
    """
    parts = urllib.parse.urlsplit(url)
    path = _place(parts, cache_dir)
    if path.is_file():
        _check_again(path)
        return path
    if parts.hostname in _BY_HAND:
        raise ValueError(
            f"{parts.hostname} serves files only to a browser: download {url} by hand and pass its path as weights=."
        )
    digest = hashlib.sha256()
    with atomic_file(path) as temporary:
        with _response(url, path.name) as response, open(temporary, "wb") as file:
            _copy(response, file, digest, url)
        # The sum first: a file in the cache always has one.
        _write_sum(path, digest.hexdigest())
    return path


def _place(parts, cache_dir):
    """The path of a URL's file in the cache: host and path are folders, since file names repeat."""
    folder = pathlib.Path(cache_dir or cache_home() / "weights")
    steps = [step for step in urllib.parse.unquote(parts.path).split("/") if step not in ("", ".", "..")]
    if not steps:
        raise ValueError(f"Expected the URL of a file. Received: {urllib.parse.urlunsplit(parts)}.")
    return folder.joinpath(parts.netloc.replace(":", "_"), *steps)


def _response(url, name):
    """The open response of a server; a web page instead of a file is a ConnectionError."""
    try:
        response = urllib.request.urlopen(url, timeout=_TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise _unreachable(name, url, error) from error
    if response.headers.get_content_type() == "text/html":
        response.close()
        raise _unreachable(name, url, "received a web page instead of the file")
    return response


def _copy(response, file, digest, url):
    """Copy a response to a file; one shorter than its Content-Length is a ConnectionError."""
    announced, received = response.headers.get("Content-Length"), 0
    while chunk := _next_chunk(response, url):
        file.write(chunk)
        digest.update(chunk)
        received += len(chunk)
    if announced is not None and str(received) != announced.strip():
        raise _unreachable(pathlib.PurePosixPath(url).name, url, f"received {received} of {announced} bytes")


def _next_chunk(response, url):
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(pathlib.PurePosixPath(url).name, url, error) from error


def _sum_path(path):
    return path.with_name(path.name + ".sha256")


def _write_sum(path, digest):
    with atomic_file(_sum_path(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def _check_again(path):
    """Compare a cached file with its sum; one that was put there by hand gets its sum now."""
    stored = _sum_path(path)
    if not stored.is_file():
        _write_sum(path, sha256(path))
        return
    expected, found = stored.read_text(encoding="utf-8", errors="replace")[:1000].split()[:1], sha256(path)
    if expected != [found]:
        raise _wrong(path, f"sha256 {''.join(expected)}", found)


# ------------------------------------------------------------------------------------------- common


def _wrong(path, expected, found):
    return ValueError(
        f"{path} is not the published file: expected {expected}. Received: {found}. Delete it and try again."
    )


def _unreachable(name, url, reason):
    return ConnectionError(
        f"{name} could not be downloaded from {url} ({reason}): pass a local file as weights=path, fill the cache and "
        "set HF_HUB_OFFLINE=1, or set HF_ENDPOINT to a mirror of the hub."
    )
