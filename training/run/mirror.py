"""A run at a URL: it is trained in a folder of the local disk, and every checkpoint is uploaded when it was written.

Every file of a run folder is replaced as a whole, on the disk as in a store, and whatever a kill leaves of them goes
on; so files are uploaded in the order in which they count: the settings, by which a folder is this run's, the weights
that a checkpoint names, the checkpoint, all others; what is gone is removed last. What a kill at any moment leaves in
the store is what it might have left on a disk.
"""

import contextlib
import os
import shutil
from pathlib import Path

from keras_vit.sources.run_folder import CHECKPOINTS, RUN, SETTINGS
from keras_vit.system import places, remote, uploads
from keras_vit.system.files import held
from keras_vit.system.remote import UnreachableError


@contextlib.contextmanager
def mirrored(output):
    """Yield the `Mirror` of a run at a URL, in whose folder all is that the URL has; of a local folder, one without.

    Raises:
        ValueError: if another process of this machine trains into the URL.
    """
    if not places.is_remote(output):
        yield Mirror(Path(output).absolute())
        return
    url = places.plain(output)
    around = uploads.working_folder(url)
    around.mkdir(parents=True, exist_ok=True)
    with held(around):
        folder = around / url.rpartition("/")[2]
        shutil.rmtree(folder, ignore_errors=True)
        mirror = Mirror(folder, url)
        mirror.restore()
        yield mirror
        shutil.rmtree(folder, ignore_errors=True)


class Mirror:
    """A run folder, and the URL at which all of it is to be.

    Args:
        folder: the local folder.
        url: None for a run that stays there.
    """

    def __init__(self, folder, url=None):
        self.folder, self.url = folder, url
        self.uploaded = {}  # name -> (size, time) of the local file whose content the store has

    def refuse_several(self, workers):
        """Raise a ValueError for several workers, of which each would need the others' checkpoints."""
        if self.url is not None and workers > 1:
            raise ValueError(
                f"{workers} workers train into a folder that all of them see, on a shared disk. Received: {self.url}. "
                "Copy the run there when it is finished."
            )

    def restore(self):
        """Download what the store has."""
        files = {name: (facts.size, None) for name, facts in remote.objects(self.url).items() if not _hidden(name)}
        uploads.downloaded(self.url, self.folder, files)
        self.uploaded = self._files()

    def push(self, log=None):
        """Upload what changed, and remove what is gone.

        Args:
            log: called with a sentence if the store does not answer; the next push then makes up for it. None: that is
                an error.
        """
        if self.url is None:
            return
        try:
            self._push()
        except UnreachableError as error:
            if log is None:
                raise
            log(f"not uploaded, and tried again with the next checkpoint: {error}")

    def finish(self):
        """Upload what changed, and the marker by which readers know that all is there."""
        if self.url is not None:
            self.push()
            uploads.upload_folder(self.folder, self.url, uploads.described(self.folder))

    def _push(self):
        files = self._files()
        for name in sorted(files, key=_order):
            if self.uploaded.get(name) != files[name]:
                remote.upload(self.folder / name, f"{self.url}/{name}")
                self.uploaded[name] = files[name]
        gone = self.uploaded.keys() - files.keys()
        for name in sorted(gone, key=_order, reverse=True):  # what names before the named
            remote.remove(f"{self.url}/{name}")
            del self.uploaded[name]

    def _files(self):
        found = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not _hidden(name):
                status = os.stat(path)
                found[name] = status.st_size, status.st_mtime_ns
        return found


def _order(name):
    """The place of a file among those that are uploaded."""
    if name.startswith(f"{CHECKPOINTS}/"):
        return (2 if name.startswith(f"{CHECKPOINTS}/step-") else 1), name
    return {SETTINGS: 0, RUN: 4}.get(name, 3), name


def _hidden(name):
    return any(part.startswith(".") for part in name.split("/"))
