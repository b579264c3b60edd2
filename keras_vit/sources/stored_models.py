"""Models at a URL of an object store: s3://bucket/runs/photos, s3://bucket/model.keras, ...

They are downloaded into the cache, completely or not at all, under a digest of what the store says of them: an object
that was replaced is downloaded again, and one that was not is there already.
"""

import hashlib
import json

from keras_vit.system import places, remote, uploads
from keras_vit.system.files import atomic_folder

NOT_NEEDED = ("checkpoints/",)  # of a run, by which only training goes on


def local_copy(url):
    """The local path of a copy of a file or a folder; its last folders are called as those of the URL.

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: for a folder whose upload was interrupted.
        UnreachableError: if the store does not answer; nothing half-written stays.
    """
    url = places.plain(url)
    found = remote.facts(url)
    if found is not None:
        names, facts = None, [url, *found]
    else:
        names = {name: entry for name, entry in uploads.listed(url).items() if not name.startswith(NOT_NEEDED)}
        if not names:
            raise FileNotFoundError(f"{url}: there is no such object, nor a folder of this name.")
        objects = remote.objects(url)
        facts = [url, *((name, *objects[name]) for name in names)]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    kept = uploads.cache_home() / "stores" / digest
    inside = url.partition("://")[2]
    if not kept.exists():
        with atomic_folder(kept) as folder:
            target = folder / inside
            if names is None:
                target.parent.mkdir(parents=True)
                remote.download(url, target)
            else:
                uploads.downloaded(url, target, names)
    return kept / inside
