"""What a path or a name stands for: a run, a `.keras` file, a SavedModel, a `.tflite`, weights, a published model.

The one resolver: loading, predicting, exporting, distilling and validating start from the `Resolved` it returns. It
looks only at which files exist and at the catalogue; it loads nothing and imports neither Keras nor TensorFlow.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from keras_vit.imagenet.labels import imagenet_labels
from keras_vit.preprocessing.spec import Spec
from keras_vit.sources import hub, library_folder, registry, stored_models
from keras_vit.sources.answers import Answers
from keras_vit.sources.run_folder import (
    LABELS,
    MODEL,
    RUN,
    SPEC,
    read_labels,
    recorded_answers,
    recorded_input_values,
)
from keras_vit.system.remote import is_remote
from keras_vit.weights import catalogue, keras_file
from keras_vit.weights.entries import WeightFileError

WEIGHT_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".ckpt", ".tar", ".bin", ".h5")
KINDS = {  # kind: what errors call it; a path is tried in this order
    "run": f"a run folder ({RUN})",
    "saved_model": "a SavedModel (saved_model.pb, NAME/VERSION/, or a folder with models/NAME/VERSION/)",
    "keras": "a .keras file",
    "tflite": "a .tflite file or a folder with one",
    "library": "a folder of transformers or timm (config.json)",
    "weights": f"a weight file ({', '.join(WEIGHT_SUFFIXES)})",
    "published": "a model's name such as SwinT",
}
MODELS = ("run", "saved_model", "keras", "tflite", "library", "published")  # the kinds that predict


class SourceNotFoundError(FileNotFoundError, ValueError):
    """A path that does not exist, which is also a bad argument."""


@dataclass(frozen=True)
class Resolved:
    """What a path or a name stands for."""

    kind: str  # a key of KINDS
    name: str  # what its artifacts are called
    path: Path | None = None  # the run folder, the file, or the version's folder of a SavedModel
    row: catalogue.Row | None = None  # of a published model

    @property
    def folder(self):
        """The folder of its preprocessing.json and labels.txt; None for a published model."""
        if self.path is None or self.kind in ("run", "library"):
            return self.path
        return self.path / "assets" if self.kind == "saved_model" else self.path.parent

    def spec(self):
        """Its preprocessing, a `Spec`; None where it is not stated."""
        if self.row is not None:
            return self.row.spec
        return spec_in(self.folder)

    def input_values(self):
        """What is recorded of the values that its Keras model takes, of `preprocessing.INPUT_VALUES`, else None."""
        if self.row is not None or self.kind == "library":
            return "normalized"  # as `models.create` builds it
        recorded = recorded_input_values(self.folder) if self.kind == "run" or self.path.name == MODEL else None
        spec = self.spec()
        return recorded or (spec and spec.input_values)

    def answers(self):
        """How its outputs are read, `Answers`: as its run says, or the answers.json beside it."""
        if self.folder is None or self.kind == "library":
            return Answers()
        if self.kind == "run" or self.path.name == MODEL and (self.folder / RUN).is_file():
            return recorded_answers(self.folder)
        labels = self.labels()
        return Answers.beside(self.folder, len(labels)) if labels else Answers()

    def labels(self):
        """The names of its classes, in the order of the outputs; None without a labels.txt or a classifier."""
        if self.row is not None:
            return tuple(label for _, label in imagenet_labels(self.row.classes)) if self.row.classes else None
        if self.kind == "library":
            return library_folder.open_folder(self.path).labels
        return read_labels(self.folder / LABELS) if (self.folder / LABELS).is_file() else None


def resolve(given, kinds=MODELS, argument=""):
    """What `given` stands for: a `Resolved` of one of `kinds`.

    Args:
        given: path, URL of an object store, a reference to the hub (hf://owner/name), or a model's name with or
            without a tag ("SwinT", "SwinT.ms_in22k_ft_in1k", timm's names).
        kinds: the keys of KINDS that the caller accepts.
        argument: what errors call it, e.g. "teacher".

    Raises:
        SourceNotFoundError: for a path that does not exist.
        ValueError: for a path of another kind, an unknown name (with the closest names) and a model without published
            weights.
    """
    prefix = f"{argument}: " if argument else ""
    found = at_path(given)
    if found is None and Path(given).exists():
        raise ValueError(f"{prefix}{given} is of no known kind. Expected {expected(kinds)}.")
    if found is None and (is_path(given) or "published" not in kinds):
        raise SourceNotFoundError(f"{prefix}{given} does not exist. Expected {expected(kinds)}.")
    if found is None:
        try:
            found = Resolved("published", str(given), row=registry.resolve_row(str(given)))
        except ValueError as error:
            raise ValueError(f"{prefix}{error}. Expected {expected(kinds)}.") from error
    if found.kind not in kinds:
        remedy = f" {_remedy(found.path)}" if found.kind == "weights" else ""
        raise ValueError(f"{prefix}{given} is {KINDS[found.kind]}. Expected {expected(kinds)}.{remedy}")
    return found


def _remedy(path):
    """How a file of weights becomes something that predicts."""
    return keras_file.explain(path) or (
        f"Weights alone do not say which model they are of; where it is NAME: keras_vit.create_model(NAME, "
        f"weights={str(path)!r}).save({str(path.with_name(f'{path.stem}.keras'))!r})."
    )


def at_path(given):
    """The `Resolved` of a path, a URL or a reference to the hub; None if it does not exist or is of no known kind.

    Raises:
        ValueError: for a folder with several models or several .tflite files, and for a reference without a model.
        ConnectionError: for a reference, if the hub cannot be reached.
    """
    if hub.is_reference(given):
        found = at_path(hub.folder(given))
        return found and dataclasses.replace(found, name=hub.parse(given).repository.partition("/")[2])
    path = Path(stored_models.local_copy(given) if is_remote(given) else given)
    if (path / RUN).is_file() or (path / MODEL).is_file():
        return Resolved("run", path.absolute().name, path)
    if is_saved_model(path):
        version = version_folder(path)
        *_, model, last = version.absolute().parts
        return Resolved("saved_model", model if last.isdigit() else last, version)
    if library_folder.is_library_folder(path):
        return Resolved("library", path.absolute().name, path)
    if path.is_file():
        kind = {".keras": "keras", ".tflite": "tflite"}.get(path.suffix)
        kind = kind or ("weights" if path.name.lower().endswith(WEIGHT_SUFFIXES) else None)
        return Resolved(kind, path.stem, path) if kind else None
    files = sorted(path.glob("*.tflite")) if path.is_dir() else []
    if len(files) > 1:
        raise ValueError(f"{path} holds {len(files)} .tflite files; name one of them: {', '.join(map(str, files))}.")
    return Resolved("tflite", files[0].stem, files[0]) if files else None


def is_path(given):
    """Whether something that does not exist is meant as a path, not as a name."""
    text = str(given)
    suffixes = (*WEIGHT_SUFFIXES, ".keras", ".tflite", ".json")
    return isinstance(given, os.PathLike) or "/" in text or "\\" in text or text.lower().endswith(suffixes)


def expected(kinds):
    """The kinds in words: "a run folder (run.json), a .keras file or a model's name such as SwinT"."""
    *first, last = (form for kind, form in KINDS.items() if kind in kinds)
    return f"{', '.join(first)} or {last}" if first else last


def resolve_spec(given):
    """The `Spec` of a Spec itself, of a preprocessing.json, or of anything that `resolve` accepts.

    Raises:
        FileNotFoundError: for a path that does not exist.
        ValueError: for anything else, and for a source without a preprocessing.json.
    """
    if isinstance(given, Spec):
        return given
    if not isinstance(given, (str, os.PathLike)):
        raise ValueError(
            "spec must be a keras_vit.preprocessing.Spec, a model's name, a folder or a preprocessing.json. "
            f"Received: {given!r}."
        )
    path = Path(given)
    if path.suffix == ".json" or (path.is_file() and at_path(path) is None):
        return Spec.load(path)
    spec = resolve(given, tuple(KINDS)).spec()
    if spec is None:
        raise ValueError(f"{given} does not state how its images are prepared: it has no {SPEC}.")
    return spec


def spec_in(folder):
    """The `Spec` of a folder: of its preprocessing.json, or as transformers or timm state it; else None.

    Raises:
        ValueError: for a file that is damaged, and for a preprocessing that a `Spec` cannot say.
    """
    path = Path(folder) / SPEC
    if path.is_file():
        return Spec.load(path)
    return library_folder.open_folder(folder).spec() if library_folder.is_library_folder(folder) else None


def spec_beside(path, required):
    """The `Spec` in the folder of a weight file; None where none is stated.

    Args:
        required: whether it is used to prepare images; otherwise one that cannot be said here does not matter.

    Raises:
        ValueError: as `spec_in`.
    """
    try:
        return spec_in(Path(path).parent)
    except WeightFileError:
        if required:
            raise
        return None


def is_saved_model(path):
    """Whether a folder is a SavedModel, or holds versions of one or models with versions."""
    path = Path(path)
    below = (path / "models").iterdir() if (path / "models").is_dir() else ()
    return (path / "saved_model.pb").is_file() or bool(_versions(path)) or any(map(_versions, below))


def version_folder(path, name=None):
    """The folder with saved_model.pb: `path`, or its highest version, or that of the model `name` or its only one."""
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    versions = _versions(path)
    if versions:
        return max(versions, key=lambda folder: int(folder.name))
    models = sorted(entry for entry in (path / "models").iterdir() if _versions(entry))
    chosen = [model for model in models if model.name == name] or models
    if len(chosen) != 1:
        names = ", ".join(str(model) for model in models)
        raise ValueError(f"{path} holds {len(models)} models; name one of them: {names}.")
    return version_folder(chosen[0])


def _versions(path):
    if not path.is_dir():
        return []
    numbered = [entry for entry in path.iterdir() if entry.name.isdigit()]
    return [entry for entry in numbered if (entry / "saved_model.pb").is_file()]
