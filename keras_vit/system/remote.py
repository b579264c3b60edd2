"""Files in object stores by their URL, s3://bucket/key and the like, through fsspec.

What fails and may succeed a moment later is tried again, with growing pauses; then an `UnreachableError` says how far
it came. What asking again does not help (no such object, no credentials, a package that is missing) is an error at
once, with its remedy. fsspec's dependencies speak the protocols: s3fs, gcsfs, adlfs, huggingface_hub.
"""

import hashlib
import os
import random
import re
import time
from typing import NamedTuple

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
PACKAGES = {  # scheme: the package that speaks it, and what credentials are
    "s3": ("s3fs", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the role of the machine"),
    "gs": ("gcsfs", "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`"),
    "az": ("adlfs", "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY"),
    "hf": ("huggingface_hub", "HF_TOKEN, or `hf auth login`"),
}
ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
OPTIONS = {  # beside those that fsspec takes from its configuration, FSSPEC_S3_... and the like
    # A request has an end: botocore waits for a minute each, and tries five times itself.
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}},
}
# What file systems call that which changes when an object does, the surest first.
VERSIONS = ("ETag", "etag", "md5Hash", "content_settings", "blob_id")
VERSIONS += ("LastModified", "last_modified", "mtime", "created")
NO_BUCKET = re.compile("bucket does not exist|NoSuchBucket|no such bucket", re.IGNORECASE)
TRIES = 5
PAUSE = 0.5  # seconds before the second try; doubled before each further one
LONGEST = 120  # seconds in which a further try is begun
PIECE = 2**24  # bytes of a large object that are asked for at once
_DEFECTS = (TypeError, AttributeError, LookupError, ArithmeticError, AssertionError)


class UnreachableError(ConnectionError):
    """An object store that did not answer, however often it was asked; not the fault of the file it was asked for."""


class RefusedError(UnreachableError, PermissionError):
    """A store that does not let us in: without credentials, or with those that have expired meanwhile."""


class Facts(NamedTuple):
    """What a store says of an object."""

    size: int  # bytes
    version: str  # changes when the object does: its etag, version or time, as far as the store has one


class Entry(NamedTuple):
    """What lies in a folder of a store; like an `os.DirEntry`."""

    name: str
    path: str  # its URL
    folder: bool
    size: int

    def is_dir(self):
        """Whether it is a folder."""
        return self.folder

    def is_file(self):
        """Whether it is an object."""
        return not self.folder

    def is_symlink(self):
        """Stores have no links."""
        return False


def is_remote(path):
    """Whether a path is a URL; not one of what is already a `Path`, which has lost a slash."""
    return isinstance(path, str) and URL.match(path) is not None


def scheme_of(url):
    """The scheme by the name that PACKAGES has for it."""
    scheme = url.partition("://")[0].lower()
    return ALIASES.get(scheme, scheme)


def facts(url):
    """The `Facts` of an object; None if there is none, or a folder.

    Raises:
        UnreachableError, RefusedError, ImportError, ValueError: as all functions here.
    """
    found = _info(url)
    return None if found is None or found["type"] == "directory" else _facts(found)


def is_folder(url):
    """Whether objects lie below a URL."""
    found = _info(url)
    return found is not None and found["type"] == "directory"


def scan(url):
    """The entries of a folder, a list.

    Raises:
        FileNotFoundError: if nothing lies below it.
    """
    files, path = _opened(url)
    start, entries = f"{url.rstrip('/')}/", []
    for found in _tried(url, lambda: files.ls(path, detail=True)):
        name = found["name"].rstrip("/")
        if name.strip("/") != path.strip("/"):  # else a folder's own empty object, as consoles make them
            name = name.rpartition("/")[2]
            entries.append(Entry(name, start + name, found["type"] == "directory", found.get("size") or 0))
    return entries


def forget(url):
    """Forget what was listed before: it may have changed."""
    _opened(url)[0].invalidate_cache()


def list_anew(url):
    """Forget what was listed before, and list all below a folder in as few requests as there can be.

    `scan`, `facts` and `is_folder` then answer from that list, where the store's package keeps one.
    """
    files, path = _opened(url)
    files.invalidate_cache()
    if is_folder(url):
        _tried(url, lambda: files.find(path))


def objects(url):
    """{path relative to the folder: `Facts`} of all objects below a folder, sorted; empty if there are none."""
    files, path = _opened(url)
    files.invalidate_cache()
    found = _tried(url, lambda: files.find(path, detail=True))
    start = f"{path.strip('/')}/"
    named = {name.strip("/").removeprefix(start): entry for name, entry in found.items()}
    return {name: _facts(entry) for name, entry in sorted(named.items()) if entry["type"] != "directory"}


def matches(pattern):
    """{URL: whether it is a folder} of what a glob matches, sorted; names that begin with a dot only where it does."""
    files, path = _opened(pattern)
    files.invalidate_cache()
    found = _tried(pattern, lambda: files.glob(path, detail=True))
    hidden = pattern.rpartition("/")[2].startswith(".")
    urls = {_url(pattern, name): entry["type"] == "directory" for name, entry in found.items()}
    return {url: urls[url] for url in sorted(urls) if hidden or not url.rpartition("/")[2].startswith(".")}


def read(url, offset=0, length=None):
    """The bytes of an object, or `length` of them from `offset` on.

    Raises:
        FileNotFoundError: if there is no such object.
        ValueError: if it ends before.
    """
    files, path = _opened(url)
    end = None if length is None else offset + length
    content = _tried(url, lambda: files.cat_file(path, start=offset or None, end=end))
    if length is not None and len(content) != length:
        raise ValueError(f"{url} ends at byte {offset + len(content):,}; expected {offset + length:,} or more.")
    return content


def sha256(url):
    """The sha256 of an object, in hexadecimal, of which a piece at a time is held."""
    found, digest = facts(url), hashlib.sha256()
    if found is None:
        raise _missing(url)
    for offset in range(0, found.size, PIECE):
        digest.update(read(url, offset, min(PIECE, found.size - offset)))
    return digest.hexdigest()


def download(url, path):
    """Copy an object into a local file, piece by piece, so that what breaks is asked for again from there on.

    Returns:
        Its `Facts`.
    Raises:
        FileNotFoundError: if there is no such object.
        UnreachableError: naming how many of its bytes came.
    """
    found = facts(url)
    if found is None:
        raise _missing(url)
    with open(path, "wb") as file:
        for offset in range(0, found.size, PIECE):
            try:
                file.write(read(url, offset, min(PIECE, found.size - offset)))
            except UnreachableError as error:
                raise UnreachableError(f"{error} {offset:,} of {found.size:,} bytes had come.") from error
    return found


def upload(path, url):
    """Copy a local file to a URL; the object appears as a whole, in place of what was there."""
    files, target = _opened(url)
    _tried(url, lambda: files.put_file(os.fspath(path), target))


def write(url, content):
    """Write bytes as an object, which appears as a whole, in place of what was there."""
    files, path = _opened(url)
    _tried(url, lambda: files.pipe_file(path, content))


def remove(url):
    """Remove an object, if it is there."""
    files, path = _opened(url)
    try:
        _tried(url, lambda: files.rm_file(path))
    except FileNotFoundError:
        pass


def _opened(url):
    """(fsspec's file system, the path there) of a URL."""
    import fsspec

    scheme = url.partition("://")[0].lower()
    try:
        files = fsspec.filesystem(scheme, **OPTIONS.get(scheme_of(url), {}))
    except Exception as error:
        raise _explained(url, error) or error from error
    return files, files._strip_protocol(url)


def _url(like, name):
    """The URL of a path that a file system gives; schemes keep the name by which they were asked for."""
    return f"{like.partition('://')[0]}://{name.lstrip('/')}"


def _info(url):
    files, path = _opened(url)
    try:
        return _tried(url, lambda: files.info(path))
    except FileNotFoundError:
        return None


def _facts(info):
    version = next((info[key] for key in VERSIONS if info.get(key)), "")
    return Facts(int(info.get("size") or 0), str(version).strip('"'))


def _tried(url, function):
    """What a function returns, which asks a store; tried again where that may help."""
    start = time.monotonic()
    for attempt in range(1, TRIES + 1):
        try:
            return function()
        except Exception as error:
            if isinstance(error, _DEFECTS):
                raise
            if known := _explained(url, error):
                raise known from error
            seconds = time.monotonic() - start
            if attempt == TRIES or seconds > LONGEST:
                raise UnreachableError(
                    f"{url} could not be reached: tried {attempt} times in {seconds:.0f} s, the last time: "
                    f"{_in_short(error)}. Check the network and the store, then give the same command again."
                ) from error
        time.sleep(PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1))


def _explained(url, error):
    """The error to raise for what trying again does not help; None if it may."""
    package, credentials = PACKAGES.get(scheme_of(url), (None, "what its package takes"))
    if isinstance(error, FileNotFoundError):
        return _missing(url, error)
    if isinstance(error, PermissionError) or "credential" in type(error).__name__.lower():
        return RefusedError(f"{url} is refused ({_in_short(error)}). Credentials for it are {credentials}.")
    if isinstance(error, (IsADirectoryError, NotADirectoryError, FileExistsError)):
        return type(error)(f"{url}: {_in_short(error)}.")
    if isinstance(error, ImportError):
        extra = "'keras-vit-models[cloud]'" if package == "s3fs" else package
        return ImportError(f"{url} needs the package {package or error.name}. Run: pip install {extra}")
    if isinstance(error, ValueError):
        schemes = ", ".join(f"{scheme}://" for scheme in PACKAGES)
        if package is None:
            return ValueError(
                f"{url} cannot be opened ({_in_short(error)}). Expected {schemes} or another scheme of fsspec."
            )
        return ValueError(f"{url} cannot be opened ({_in_short(error)}). Credentials for it are {credentials}.")
    return None


def _missing(url, error=None):
    if error is not None and NO_BUCKET.search(str(error)):
        bucket = "/".join(url.split("/")[:3])
        return FileNotFoundError(f"{url}: there is no bucket {bucket}. Check its name, and the endpoint of the store.")
    return FileNotFoundError(f"{url}: there is no such object, nor a folder of this name.")


def _in_short(error):
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
