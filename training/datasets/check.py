"""Finds what is wrong with the image files of a data set, before training starts.

Files are decoded by PIL, in several processes if there are many.
"""

import hashlib
import io
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from keras_vit.preprocessing import BROKEN_IMAGE, IMAGE_SUFFIXES
from keras_vit.training.datasets import folders, manifest, shards

PROBLEMS = {  # name -> its consequence in training; printed as "in training it <consequence>"
    "unreadable": "is replaced, up to max_bad_fraction",
    "truncated": "is replaced, up to max_bad_fraction",
    "damaged": "stops the run, or is replaced; copy it again",
    "differing classes": "stops the run",
    "empty class": "stops the run",
    "ignored": f"is not used ({' '.join(IMAGE_SUFFIXES)} are)",
    "wrong extension": "is read by its actual format",
    "not RGB": "is converted to RGB, without transparency",
    "duplicate": "counts twice; across splits, inflates accuracy",
}
SERIOUS = ("unreadable", "truncated", "damaged", "differing classes", "empty class")
EXTENSIONS = {  # PIL's name of a format that TensorFlow decodes -> file name extensions
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # a JPEG followed by further images; written by some phones
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
MODES = {"1": "grey", "L": "grey", "I": "grey", "F": "grey", "LA": "grey with alpha", "P": "palette"}
MAX_FILES_IN_PROCESS = 1000  # up to this many, starting processes takes longer than reading the files


class Finding(NamedTuple):
    """One problem of one file."""

    problem: str  # a key of PROBLEMS
    path: str  # relative to the folder of the data set or of the manifest
    detail: str


@dataclass(frozen=True)
class Report:
    """The result of `check`."""

    files: int
    classes: int
    splits: tuple[str, ...]  # "train", "val", "test", or "all"
    findings: tuple[Finding, ...]  # sorted by the order of PROBLEMS, then by path

    @property
    def serious(self):
        """Whether an image cannot be read or training would reject the data set."""
        return any(finding.problem in SERIOUS for finding in self.findings)


def check(source, workers=None, progress=None):
    """Read every file of a data set.

    Args:
        source: a folder of class folders; a manifest, FILE.csv; or a folder of shards, of which only the checksums are
            compared.
        workers: number of processes; 1 reads in this one, None uses one per core if there are many files.
        progress: None, or a function that is called with (files done, total files).
    Returns:
        A Report.
    Raises:
        ValueError: if the source is none of these, or has no train split.
        OSError: if a process is killed.
    """
    source = Path(source).absolute()
    if (source / shards.INDEX).is_file():
        return _check_shards(source, progress)
    if source.is_file():
        return _check_files(source.parent, manifest.list_files(source), [], workers, progress)
    found = folders.list_files(source)
    findings = list(_folder_findings(source, found))
    for classes in found.values():
        for name, files in classes.items():
            findings += [Finding("ignored", f, Path(f).suffix or "none") for f in files if not folders.is_image(f)]
            classes[name] = [file for file in files if folders.is_image(file)]
    return _check_files(source, found, findings, workers, progress)


def inspect(path):
    """Read and decode one file.

    Returns:
        (sha256 of its bytes, None if it cannot be read; list of its problems as (name, detail) pairs).
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return None, [("unreadable", error.strerror or str(error))]
    return hashlib.sha256(content).hexdigest(), list(_problems(path, content))


def _check_files(root, found, findings, workers, progress):
    files = [file for classes in found.values() for names in classes.values() for file in names]
    if workers is None:
        workers = 1 if len(files) <= MAX_FILES_IN_PROCESS else os.cpu_count()
    seen = {}
    for number, (file, (digest, problems)) in enumerate(zip(files, _inspected(files, workers))):
        findings += [Finding(problem, file, detail) for problem, detail in problems]
        first = seen.setdefault(digest, file) if digest else file
        if first != file:
            findings.append(Finding("duplicate", file, f"as {os.path.relpath(first, root)}"))
        if progress:
            progress(number + 1, len(files))
    order = list(PROBLEMS)
    findings = [finding._replace(path=os.path.relpath(finding.path, root)) for finding in findings]
    findings.sort(key=lambda finding: (order.index(finding.problem), finding.path))
    classes = {name for split in found.values() for name in split}
    return Report(len(files), len(classes), tuple(found), tuple(findings))


def _check_shards(folder, progress):
    index, findings = shards.read_index(folder), []
    files = [file for split in index["parts"].values() for file in (split["index"], *split["shards"])]
    for number, file in enumerate(files):
        if damage := shards.damage(folder / file["file"], file):
            findings.append(Finding("damaged", file["file"], damage))
        if progress:
            progress(number + 1, len(files))
    return Report(len(files), len(index["classes"]), tuple(index["parts"]), tuple(findings))


def _problems(path, content):
    from PIL import Image

    if not content:
        yield "unreadable", "empty"
        return
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            image.load()
    except Image.UnidentifiedImageError:
        yield "unreadable", "no image, or only the beginning of one"
        return
    except (*BROKEN_IMAGE, Image.DecompressionBombError) as error:
        text = " ".join(str(error).split())
        yield "truncated" if "truncated" in text.lower() else "unreadable", text
        return
    if image.format not in EXTENSIONS:
        yield "unreadable", f"{image.format}, which TensorFlow does not decode; save it as JPEG or PNG"
    elif not path.lower().endswith(EXTENSIONS[image.format]):
        yield "wrong extension", f"is {image.format}"
    if image.mode != "RGB":
        yield "not RGB", MODES.get(image.mode, "16 bits" if image.mode.startswith("I;16") else image.mode)


def _inspected(files, workers):
    """`inspect` of every file, in order."""
    if workers == 1:
        yield from map(inspect, files)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            yield from pool.map(inspect, files, chunksize=16)
        except BrokenProcessPool as error:
            raise OSError(
                "A process that decodes images was killed, for lack of memory or by a file that crashes the decoder; "
                "with one worker, the progress stops at that file."
            ) from error


def _folder_findings(folder, found):
    """The problems of class folders."""
    for split, (missing, extra) in folders.class_differences(found).items():
        yield from (Finding("differing classes", folder / "train" / name, f"not in {split}") for name in missing)
        yield from (Finding("differing classes", folder / split / name, "not in train") for name in extra)
    for split, classes in found.items():
        for name, files in classes.items():
            if not any(map(folders.is_image, files)):
                path = folder / name if split == "all" else folder / split / name
                yield Finding("empty class", path, "no image")
