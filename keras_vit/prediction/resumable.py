"""Work on many images that goes on where it was interrupted: answers are kept, batch by batch, until all are there.

found.csv.partial/request.json  what was asked: the model, the images, and all else that the answers depend on
found.csv.partial/answers       per batch: the length and CRC-32 of what follows, and the answers as safetensors

A batch that was written by half, when a process was killed, is cut off and answered again. The file found.csv itself is
written from the answers, at the end and completely, and the folder is then removed.
"""

import contextlib
import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_vit.system import special_files
from keras_vit.system.files import atomic_file, held, scratch_folder

SUFFIX = ".partial"  # of the folder, after the name of the file that it becomes
REQUEST, ANSWERS = "request.json", "answers"
FRAME = struct.Struct("<QI")


class Row(NamedTuple):
    """What is kept of one image."""

    name: str
    values: np.ndarray | None  # float32 (n,): scores, or a vector; None for an image that cannot be read
    numbers: np.ndarray = np.zeros(0, "int32")  # of the classes of these scores, int32 (n,)
    known: float | None = None  # the score by which the image is known
    reason: str | None = None  # why it cannot be read


@contextlib.contextmanager
def journal(output, request):
    """Yield the `Journal` of the work that becomes the file `output`; what an earlier process kept is in it.

    After an error or an interrupt the answers stay, if there are any; else they are removed.

    Args:
        output: path of the file.
        request: a dictionary, of which JSON can be made, of all that the answers depend on.

    Raises:
        ValueError: naming the difference, if the answers that are there were asked for by another request; if another
            process is at this work.
    """
    if special_files.is_special(output):  # a pipe or a device, beside which nothing can lie
        with scratch_folder() as folder:
            yield Journal(folder / ANSWERS)
        return
    folder = Path(f"{output}{SUFFIX}")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        _check_request(folder, output, json.loads(json.dumps(request)))
        kept, complete = Journal(folder / ANSWERS), False
        try:
            yield kept
            complete = True
        finally:
            if complete or not kept.done:
                shutil.rmtree(folder)


def _check_request(folder, output, request):
    path = folder / REQUEST
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # none, or a file of a disk that was full
        (folder / ANSWERS).unlink(missing_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(request, indent=1) + "\n", encoding="utf-8")
        return
    if different := difference(earlier, request):
        raise ValueError(
            f"{folder} holds answers that were asked for otherwise: {different}. Give the same command to go on with "
            f"them, another --output than {output}, or remove the folder to begin anew."
        )


def difference(earlier, request):
    """In words, where two requests differ; None if they do not."""
    for key in dict.fromkeys((*earlier, *request)):
        was, now = earlier.get(key), request.get(key)
        if was != now:
            short = not any(isinstance(value, (dict, list)) or len(str(value)) > 40 for value in (was, now))
            return f"another {key.replace('_', ' ')}" + (f", {was} then and {now} now" if short else "")
    return None


class Journal:
    """The answers of whole batches, in order."""

    def __init__(self, path):
        self.path, self.batches, self.done = path, 0, 0
        path.touch()
        end = 0
        for rows, end in self._read():
            self.batches, self.done = self.batches + 1, self.done + len(rows)
        os.truncate(path, end)

    def append(self, rows):
        """Keep the `Row`s of one more batch."""
        content = _packed(rows)
        with open(self.path, "ab") as file:
            file.write(FRAME.pack(len(content), zlib.crc32(content)) + content)
        self.batches, self.done = self.batches + 1, self.done + len(rows)

    def rows(self):
        """All `Row`s, in order."""
        for rows, _ in self._read():
            yield from rows

    def _read(self):
        """(rows of a batch, the position behind it), up to the first that is not whole."""
        size = self.path.stat().st_size
        with open(self.path, "rb") as file:
            while len(frame := file.read(FRAME.size)) == FRAME.size:
                length, checksum = FRAME.unpack(frame)
                content = file.read(length) if length <= size - file.tell() else b""
                if len(content) < length or zlib.crc32(content) != checksum:
                    return
                yield _unpacked(content), file.tell()


def _packed(rows):
    from safetensors.numpy import save

    given = [row for row in rows if row.values is not None]
    arrays = {
        "counts": np.array([-1 if row.values is None else len(row.values) for row in rows], "int64"),
        "numbers": np.concatenate([np.zeros(0, "int32"), *(row.numbers for row in given)]),
        "values": np.concatenate([np.zeros(0, "float32"), *(row.values for row in given)]),
        "known": np.array([np.nan if row.known is None else row.known for row in rows], "float64"),
        "texts": np.frombuffer(json.dumps([(row.name, row.reason) for row in rows]).encode(), "uint8"),
    }
    return save(arrays)


def _unpacked(content):
    from safetensors.numpy import load

    arrays = load(content)
    counts, texts = arrays["counts"], json.loads(arrays["texts"].tobytes())
    known = [None if np.isnan(score) else float(score) for score in arrays["known"]]
    ends = np.cumsum(np.maximum(counts, 0))
    values = np.split(arrays["values"], ends[:-1])
    numbers = np.split(arrays["numbers"], ends[:-1]) if len(arrays["numbers"]) else len(counts) * [arrays["numbers"]]
    return [
        Row(name, None if count < 0 else value, number, score, reason)
        for (name, reason), count, value, number, score in zip(texts, counts, values, numbers, known)
    ]
