"""Models at a URL of an object store: s3://bucket/runs/photos, s3://bucket/model.keras, ...

They are downloaded into the cache, completely or not at all, under a digest of what the store says of them: an object
that was replaced is downloaded again, and one that was not is there already.
"""

import hashlib
import json

from keras_vit.sources.answers import ANSWERS
from keras_vit.sources.run_folder import LABELS, RESULTS, RUN, SPEC
from keras_vit.system import places, remote, uploads
from keras_vit.system.files import atomic_folder, cache_home

BESIDE = (SPEC, LABELS, ANSWERS, RUN, RESULTS)  # what may say of a file how it is used
NOT_NEEDED = ("checkpoints/",)  # of a run, by which only training goes on


def local_copy(url):
    """The local path of a copy of a file or a folder; its last folders are called as those of the URL.

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: for a folder whose upload was interrupted.
        UnreachableError: if the store does not answer; nothing half-written stays.
    """
    url = places.plain(url)
    remote.forget(url)
    folder, files, facts = _file(url) if remote.facts(url) else _folder(url)
    digest = hashlib.sha256(json.dumps([url, facts]).encode()).hexdigest()[:16]
    kept = cache_home() / "stores" / digest
    if not kept.exists():
        with atomic_folder(kept) as temporary:
            uploads.downloaded(folder, temporary / folder.partition("://")[2], files)
    return kept / url.partition("://")[2]


def _file(url):
    """The folder of a file, {name: (size, sha256)} of it and what is read beside it, and the `Facts` of these."""
    folder, found = places.parent(url), {url.rpartition("/")[2]: remote.facts(url)}
    found |= {name: remote.facts(f"{folder}/{name}") for name in BESIDE}
    found = {name: facts for name, facts in found.items() if facts}
    return folder, {name: (facts.size, None) for name, facts in found.items()}, found


def _folder(url):
    """The same of a folder."""
    files = {name: entry for name, entry in uploads.listed(url).items() if not name.startswith(NOT_NEEDED)}
    if not files:
        raise FileNotFoundError(f"{url}: there is no such object, nor a folder of this name.")
    objects = remote.objects(url)
    return url, files, {name: objects[name] for name in files}
