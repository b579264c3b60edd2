"""Finds what is wrong with the image files of a data set, before training starts.

Files are decoded as everything else here sees them, by `keras_vit.preprocessing.read_image`, in several processes if
there are many.
"""

import hashlib
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from keras_vit.images.folders import find_classes
from keras_vit.images.names import normalized, printable
from keras_vit.preprocessing.reading import missing_plugin, read_with_kind, refused_file
from keras_vit.system import places
from keras_vit.system.remote import UnreachableError
from keras_vit.training.datasets import folders, manifest, shards
from keras_vit.training.datasets.evenness import labels_per_image

PROBLEMS = {  # name -> its consequence in training; printed as "in training it <consequence>"
    "refused": "stops the run",
    "unreadable": "is replaced, up to max_bad_fraction",
    "truncated": "is replaced, up to max_bad_fraction",
    "damaged": "stops the run, or is replaced; copy it again",
    "differing classes": "stops the run",
    "empty class": "stops the run",
    "missing class": "is not measured in this split",
    "ignored": "is not used",
    "slow format": "is read by Pillow, more slowly than JPEG and PNG",
    "wrong extension": "is read by its actual format",
    "not RGB": "is converted to RGB, without transparency",
    "duplicate": "counts twice; across splits, inflates accuracy",
}
SERIOUS = ("refused", "unreadable", "truncated", "damaged", "differing classes", "empty class")
SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # an MPO is a JPEG followed by further images, written by some phones
FAST = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # formats that TensorFlow decodes as Pillow does, but for rare kinds
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
    notes: dict[str, str] = field(default_factory=dict)  # {name: text}: which folder is which split, what is not taken
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # {split: {class: images}}

    @property
    def serious(self):
        """Whether an image cannot be read or training would reject the data set."""
        return any(finding.problem in SERIOUS for finding in self.findings)


def check(source, workers=None, progress=None, shard=None):
    """Read every file of a data set.

    Args:
        source: a folder of class folders; a manifest, FILE.csv; or a folder of shards, of which only the checksums are
            compared.
        workers: number of processes; 1 reads in this one, None uses one per core if there are many files.
        progress: None, or a function that is called with (files done, total files).
        shard: (i, N) to read the i-th of N parts of the files, every N-th; None for all. What is wrong with folders is
            found in each part, and which files are there twice within a part only.
    Returns:
        A Report.
    Raises:
        ValueError: if the source is none of these, or it is not clear which folders are splits.
        OSError: if a process is killed, or a folder cannot be listed.
    """
    source = places.absolute(source)
    if places.is_file(places.inside(source, shards.INDEX)):
        return _check_shards(source, progress, _every(shard))
    if places.is_file(source):
        files, counts = manifest.list_files(source)
        files = files[_every(shard)]
        notes, findings = _as_training_takes_it(source, lambda: manifest.load(source), [])
        findings = _file_findings(places.parent(source), files, findings, workers, progress)
        return _report(files, counts, findings, notes)
    found = find_classes(source)
    files = [file for part in found.splits.values() for listing in part.classes.values() for file in listing.images]
    files = files[_every(shard)]
    counts = {name: {c: part.count(c) for c in part.classes} for name, part in found.splits.items()}
    findings = list(_folder_findings(found, counts))
    notes, findings = _as_training_takes_it(source, lambda: folders.assembled(found), findings)
    findings = _file_findings(source, files, findings, workers, progress)
    return _report(files, counts, findings, found.notes | notes)


def inspect(path):
    """Read and decode one file.

    Returns:
        (sha256 of its bytes, None if it cannot be read; list of its problems as (name, detail) pairs).
    """
    try:
        if not places.is_remote(path) and (reason := refused_file(path)):
            return None, [("unreadable", reason)]
        content = places.read(path)
    except UnreachableError:  # which says nothing about the image
        raise
    except OSError as error:
        return None, [("unreadable", _twin(path) or error.strerror or str(error))]
    return hashlib.sha256(content).hexdigest(), list(_problems(path, content))


def _as_training_takes_it(source, load, findings):
    """(notes of the DataSet, findings): another finding if training refuses the data for a reason not yet found."""
    try:
        return _notes(load()), findings
    except ValueError as error:
        if any(finding.problem in SERIOUS for finding in findings):
            return {}, findings
        return {}, [*findings, Finding("refused", source, str(error))]


def _notes(data_set):
    """The notes of a DataSet and, where images have several labels, how many."""
    if not data_set.multi_label:
        return data_set.notes
    splits = [data_set.train, data_set.validation] + [data_set.test] * (not data_set.test_is_validation)
    return data_set.notes | {"labels per image": labels_per_image(np.concatenate([split.labels for split in splits]))}


def _report(files, counts, findings, notes):
    classes = {name for split in counts.values() for name in split}
    return Report(len(files), len(classes), tuple(counts), findings, notes, counts)


def _file_findings(root, files, findings, workers, progress):
    """The findings, with those of every file, sorted; their paths relative to `root`."""
    if workers is None:
        workers = 1 if len(files) <= MAX_FILES_IN_PROCESS else os.cpu_count()
    seen = {}
    for number, (file, (digest, problems)) in enumerate(zip(files, _inspected(files, workers))):
        findings += [Finding(problem, file, detail) for problem, detail in problems]
        first = seen.setdefault(digest, file) if digest else file
        if first != file:
            findings.append(Finding("duplicate", file, f"as {printable(places.relative(first, root))}"))
        if progress:
            progress(number + 1, len(files))
    order = list(PROBLEMS)
    findings = [finding._replace(path=places.relative(finding.path, root)) for finding in findings]
    return tuple(sorted(findings, key=lambda finding: (order.index(finding.problem), finding.path)))


def _every(shard):
    """The slice of a part."""
    return slice(None) if shard is None else slice(shard[0] - 1, None, shard[1])


def _check_shards(folder, progress, mine):
    index, findings = shards.read_index(folder), []
    files = [file for split in index["parts"].values() for file in (split["index"], *split["shards"])][mine]
    for number, file in enumerate(files):
        if damage := shards.damage(places.inside(folder, file["file"]), file):
            findings.append(Finding("damaged", file["file"], damage))
        if progress:
            progress(number + 1, len(files))
    notes, counts = {}, {}
    if not findings:
        try:
            notes, counts = _shards_hold(shards.load(folder), index)
        except ValueError as error:
            findings = [Finding("refused", shards.INDEX, str(error))]
    return Report(len(files), len(index["classes"]), tuple(index["parts"]), tuple(findings), notes, counts)


def _shards_hold(data_set, index):
    """(notes, {split: {class: images}}) of undamaged shards."""
    splits = zip(("train", "val", "test"), data_set.splits().values())
    counts = {name: split.class_counts(len(data_set.classes)).tolist() for name, split in splits}
    return _notes(data_set), {name: dict(zip(data_set.classes, counts[name])) for name in index["parts"]}


def _problems(path, content):
    from PIL import Image

    if not content:
        yield "unreadable", "empty"
        return
    try:
        with warnings.catch_warnings(action="ignore"):
            _, format, mode = read_with_kind(content)
    except ValueError as error:
        yield _why_unreadable(path, error)
        return
    format = SAME_FORMAT.get(format, format)
    named = Image.registered_extensions().get(os.path.splitext(path)[1].lower())
    if format not in FAST or (format == "BMP" and mode != "RGB"):
        yield "slow format", format
    if SAME_FORMAT.get(named, named) != format:
        yield "wrong extension", f"is {format}"
    if mode != "RGB":
        yield "not RGB", MODES.get(mode, "16 bits" if mode.startswith("I;16") else mode)


def _twin(path):
    """What is wrong with a path that is there in the other form of Unicode only; None if it is something else."""
    folder, name = os.path.split(path)
    names = os.listdir(folder) if os.path.isdir(folder) else ()
    same = [other for other in names if other != name and normalized(other) == normalized(name)]
    return f"no such file, but {same[0]!a}: write the accents in the same form of Unicode" if same else None


def _why_unreadable(path, error):
    """The finding for an image that `read_image` refuses."""
    from PIL import Image

    reason = error.__cause__ or error
    if isinstance(reason, Image.UnidentifiedImageError):
        return "unreadable", missing_plugin(path) or "no image, or only the beginning of one"
    text = " ".join(str(reason).split())
    return "truncated" if "truncated" in text.lower() else "unreadable", text


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


def _folder_findings(found, counts):
    """The problems of class folders, and the files in them that are not taken."""
    train = next((counts[name] for name in ("train", "all") if name in counts), None)  # without: refused as a whole
    for split, part in found.splits.items():
        for name, listing in part.classes.items():
            yield from (Finding("ignored", path, reason) for path, reason in listing.others)
            if not listing.images:
                yield Finding("empty class" if counts[split] is train else "missing class", listing.folder, "no image")
            elif train is not None and name not in train:
                yield Finding("differing classes", listing.folder, "not in train")
        missing = [name for name in train or () if name not in part.classes]
        yield from (Finding("missing class", places.inside(part.folder, name), "no folder") for name in missing)
