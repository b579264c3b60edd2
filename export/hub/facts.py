"""What is known of a model for its card: from the files of its run, from `keras-vit validate`, or measured now.

A measurement counts only if it is known to be of these weights; what was not measured is said to be missing.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

from keras_vit.evaluation import accuracy, evaluate
from keras_vit.evaluation.calibration import calibration
from keras_vit.evaluation.multilabel import multilabel_accuracy
from keras_vit.evaluation.results import read_results
from keras_vit.prediction.doubts import doubts_about
from keras_vit.prediction.predictor import keras_predictor
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import RESULTS, RUN, SETTINGS, read_entries
from keras_vit.system import bounded_json
from keras_vit.weights import catalogue
from keras_vit.weights.download import sha256

SEVERAL = ("map", "micro_f1", "macro_f1")
METRICS = "metrics.json"  # of `keras-vit validate --output`
MAX_SETTINGS = 2**24  # bytes of args.yaml, which has the names of the classes
KEPT = ("data", "weights", "finished", "held_out", "best_epoch", "train_seconds")  # entries of run.json that go up,
KEPT += ("multi_label", "thresholds", "temperature", "unknown")  # with those by which the model's outputs are read
# Settings that are about one machine or said elsewhere; those with paths of it among them.
_LEFT_OUT = {"model", "dataset", "data_dir", "train_split", "val_split", "weights", "architecture", "preprocessing"}
_LEFT_OUT |= {"classes", "pictures", "data_sha256", "cache_megabytes", "recovery_interval", "recovery_minutes"}
_LEFT_OUT |= {"checkpoint_hist", "watchdog_minutes", "xla", "deterministic", "max_bad_fraction", "variant"}


@dataclass(frozen=True)
class Measured:
    """What was measured on labelled images; percentages as `keras-vit validate` prints them."""

    top1: float | None  # None where an image may have several labels
    images: int
    top5: float | None = None  # None where there are no more than five classes
    calibration_error: float | None = None  # expected calibration error, in [0, 1]
    by: str = ""  # how, in words
    chosen_on: bool = False  # whether the checkpoint was chosen by its accuracy on the same images
    several: Mapping[str, float] = field(default_factory=dict)  # of SEVERAL, where an image may have several labels


@dataclass(frozen=True)
class Facts:
    """A model in facts."""

    name: str
    model: str  # the architecture's name
    parameters: int
    labels: tuple[str, ...]
    spec: Spec
    input_values: str  # of INPUT_VALUES
    run: Mapping[str, Any] = field(default_factory=dict)  # KEPT entries of run.json
    settings: Mapping[str, Any] = field(default_factory=dict)  # of its training, from args.yaml
    images: Mapping[str, int] = field(default_factory=dict)  # images of each split
    architecture: str = ""
    base: catalogue.Row | None = None  # published weights that training began with
    measured: Measured | None = None
    missing: str = ""  # why the accuracy or the calibration is not there
    warnings: tuple[str, ...] = ()


def gather(source, folder=None, evaluation=None, measure=True, batch_size=32):
    """The `Facts` of an `ExportedModel`.

    Args:
        source: an `ExportedModel`.
        folder: of its run, if it is one.
        evaluation: folder that `keras-vit validate --output` wrote for this model, or its metrics.json.
        measure: whether to evaluate on the run's test images, where all are there and there is no `evaluation`.
        batch_size: images that the model takes at once.

    Raises:
        ValueError: for an evaluation of another model.
    """
    recorded = source.input_values
    kind, weights = ("keras model", source.weights) if folder is None else ("keras run", source.weights)
    how = (weights, recorded, source.answers)
    predictor = keras_predictor(kind, source.name, source.loaded, source.spec, source.labels, *how)
    entries = read_entries(folder / RUN) if folder is not None else {}
    settings = _settings(folder / SETTINGS) if folder is not None else {}
    run = {key: public(entries[key]) for key in KEPT if entries.get(key) is not None}
    missing, warnings = "", []
    if evaluation is not None:
        found = _of_validate(Path(evaluation), predictor)
    elif measure and source.images and all(Path(path).is_file() for path, _ in source.images):
        found, warnings = _measure(predictor, source, run, batch_size)
    else:
        found, missing = _recorded(folder, run, source.weights)
    return Facts(
        name=source.name,
        model=str(entries.get("model", source.loaded.name)),
        parameters=predictor.parameters,
        labels=predictor.labels,
        spec=source.spec,
        input_values=predictor.input_values,
        run=run,
        settings={key: public(value) for key, value in settings.items() if key not in _LEFT_OUT},
        images=_counts(settings),
        architecture=str(settings.get("architecture") or ""),
        base=_base(entries),
        measured=found,
        missing=missing,
        warnings=tuple(warnings),
    )


def public(value):
    """A setting without the folders of this machine: of a path, its last part."""
    if isinstance(value, str) and not value.startswith("hf://"):
        return value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return value


def _settings(path):
    """The settings of args.yaml as a dictionary; none if it is not there."""
    import yaml

    if not path.is_file() or path.stat().st_size > MAX_SETTINGS:
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    return found if isinstance(found, dict) else {}


def _counts(settings):
    """{"training" and so on: images}."""
    names = {"train": "training", "val": "validation", "held_out": "test"}
    found = settings.get("pictures")
    return {names.get(name, name): count for name, count in found.items()} if isinstance(found, dict) else {}


def _base(entries):
    """The catalogue's row of the weights that training began with; None if it began with others, or with none."""
    try:
        return catalogue.find(entries.get("model"), entries["weights"]) if entries.get("weights") else None
    except ValueError:
        return None


def _measure(predictor, source, run, batch_size):
    predictions = evaluate(predictor, source.images, batch_size)
    chosen_on = bool((run.get("held_out") or {}).get("chosen_on_same_pictures"))
    by = "by `keras-vit push`, on the validation split" if chosen_on else "by `keras-vit push`, on the test split"
    error = calibration(predictions).error
    if predictor.multi_label:
        total = multilabel_accuracy(predictions)
        values = (total.map, total.tallies.micro_f1, total.tallies.macro_f1)
        several = {name: 100 * value for name, value in zip(SEVERAL, values)}
        found = Measured(None, total.images, None, error, by, chosen_on, several)
    else:
        total = accuracy(predictions)
        found = Measured(total.top1, total.images, _top5(total.k, total.top5), error, by, chosen_on)
    return found, doubts_about(predictor, predictions, source.accuracy)


def _of_validate(path, predictor):
    path = path / METRICS if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{path} is not there. Expected the folder that `keras-vit validate --output` wrote.")
    try:
        entries = bounded_json.parse(path.read_bytes())
        several = _several(entries) if predictor.multi_label else {}
        single = (None, None) if several else (float(entries["top1"]), _top5(entries["k"], float(entries["top5"])))
        numbers = (single[0], int(entries["n_images"]), single[1])
        error, name = float(entries["expected_calibration_error"]), entries["model"]
    except (ValueError, KeyError, TypeError) as problem:
        raise ValueError(f"{path} is not of `keras-vit validate --output`: {problem!r}. Run it again.") from problem
    if name != predictor.name:
        raise ValueError(f"{path} is the evaluation of {name!r}. Expected that of {predictor.name!r}.")
    return Measured(*numbers, error, "by `keras-vit validate`", several=several)


def _recorded(folder, run, weights):
    """(what training measured on these weights, or None; what is missing and why)."""
    found, same = run.get("held_out"), False
    needed = {"n_images", *(SEVERAL if run.get("multi_label") else ("top1",))}
    if isinstance(found, dict) and run.get("finished") and needed <= set(found):
        digest = sha256(weights)
        same = any(row["weights_sha256"] == digest for row in read_results(folder / RESULTS))
    if not same:
        return None, "no test images, and no evaluation by `keras-vit validate` was given"
    chosen_on = bool(found.get("chosen_on_same_pictures"))
    by = f"by training, on the {'validation' if chosen_on else 'test'} split"
    several, top5 = _several(found) if run.get("multi_label") else {}, _top5(5, found.get("top5"))
    top1 = None if several else float(found["top1"])
    measured = Measured(top1, int(found["n_images"]), None if several else top5, None, by, chosen_on, several)
    return measured, "the test images are not there any more, and no evaluation by `keras-vit validate` was given"


def _several(entries):
    return {name: float(entries[name]) for name in SEVERAL}


def _top5(k, value):
    return float(value) if k == 5 and value is not None else None
