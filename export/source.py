"""What is to be exported, found by one function: a run folder, a `.keras` file, or a name of the zoo."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vit.preprocessing import Spec, resolve_row, resolve_spec
from keras_vit.runs import MODEL, Run, load_keras_model, read_labels

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


@dataclass(frozen=True)
class Source:
    """A model with all that must travel with it."""

    model: Any  # keras.Model in float32: (B, H, W, 3), normalised unless it does so itself -> (B, K)
    spec: Spec
    labels: tuple[str, ...]  # K names, in the order of the outputs
    name: str  # for folders, files and URLs
    pictures: tuple = ()  # (path, number of the class) of pictures the model never trained on
    published: Any = None  # the catalogue's row of a model of the zoo
    weights: Path | None = None  # the file that holds the weights


def open_source(source, preprocessing=None, labels=None):
    """Open a run folder, a `.keras` file or a model's name ("SwinT", "SwinT.ms_in1k", timm's names).

    Args:
        source: path or name. A run brings preprocessing, labels and held-out pictures; a name has the catalogue's
            preprocessing and weights, and ImageNet's labels.
        preprocessing: for a `.keras` file, and needed there: a preprocessing.json, or a model's name.
        labels: for a `.keras` file: a text file, one name per line; without it classes are called "0", "1", ...
    Raises: ValueError if something is missing, given twice, or does not fit the model.
    """
    path = Path(source)
    if path.suffix == ".keras" and not path.is_dir():
        opened = _open_keras(path, preprocessing, labels)
    elif preprocessing is not None or labels is not None:
        raise ValueError(
            f"{source}: --preprocessing and --labels are for `.keras` files; a run and a published model bring theirs."
        )
    elif path.is_dir():
        opened = _open_run(path)
    else:
        opened = _open_name(str(source))
    return _checked(opened)


def picture_files(paths):
    """The pictures among files and folders (searched to the bottom), sorted within each folder; no class is known."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in PICTURES)
            if not inside:
                raise ValueError(f"{path} holds no picture ({', '.join(PICTURES)}).")
            found.extend(inside)
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"{path} does not exist; expected a picture or a folder of pictures.")
    return tuple((path, None) for path in found)


def add_arguments(parser):
    """The arguments every verb has that opens a source: which one, and the pictures to check on."""
    parser.add_argument(
        "source",
        metavar="MODEL_OR_RUN",
        help="a run folder, a .keras file, or a model's name such as SwinT.ms_in1k",
    )
    parser.add_argument(
        "--preprocessing",
        metavar="FILE",
        help="for a .keras file: preprocessing.json, or a model's name to take it from",
    )
    parser.add_argument("--labels", metavar="FILE", help="for a .keras file: the classes' names, one per line")
    parser.add_argument(
        "--images",
        metavar="PATH",
        nargs="+",
        default=[],
        help="pictures or folders to check on (default: held-out, or noise)",
    )
    parser.add_argument(
        "--max-images",
        type=int,
        default=1000,
        help="check on at most so many pictures, evenly picked (default: 1000)",
    )


def _open_run(path):
    run = Run.open(path)
    pictures = tuple(run.held_out()) if (path / "held_out.csv").is_file() else ()
    return Source(run.load_model(), run.spec, run.labels, run.name, pictures, weights=path / MODEL)


def _open_keras(path, preprocessing, labels):
    if not path.is_file():
        raise ValueError(f"{path} does not exist.")
    if preprocessing is None:
        raise ValueError(
            f"{path} does not say how its pictures are prepared. Add --preprocessing with a preprocessing.json "
            '({"size": [H, W], "mean": [...], "std": [...]}) or the name of the model whose preprocessing it uses.'
        )
    spec = resolve_spec(preprocessing)
    model = load_keras_model(path)
    names = read_labels(labels) if labels else tuple(str(k) for k in range(_classes(model)))
    return Source(model, spec, names, path.stem, weights=path)


def _open_name(name):
    if "/" in name or "\\" in name:
        raise ValueError(f"{name} does not exist; expected a run folder, a .keras file or a model's name.")
    import keras_vit
    from keras_vit.labels import imagenet_labels

    row = resolve_row(name)
    shape = (*row.spec.size, 3)
    model = keras_vit.create_model(row.constructor, weights=row.tag, classes=row.classes, input_shape=shape)
    return Source(model, row.spec, _names(imagenet_labels(row.classes)), name, published=row)


def _names(labels):
    """Class names from labels that may come as (wnid, name) pairs."""
    return tuple(label if isinstance(label, str) else label[-1] for label in labels)


def _checked(source):
    import keras

    from keras_vit.export.float32 import in_float32

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Exporting needs Keras on TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}; unset it."
        )
    classes, shape = _classes(source.model), tuple(source.model.inputs[0].shape)
    if len(source.model.inputs) != 1 or len(shape) != 4 or shape[3] != 3:
        raise ValueError(f"{source.name}: expected one input (B, H, W, 3). Received: {shape}.")
    if any(side not in (None, wanted) for side, wanted in zip(shape[1:3], source.spec.size)):
        raise ValueError(
            f"{source.name}: the preprocessing gives pictures of {source.spec.size} pixels, and the model takes "
            f"{shape[1:3]}; they must agree."
        )
    if classes != len(source.labels):
        raise ValueError(f"{source.name}: the model has {classes} classes, and there are {len(source.labels)} labels.")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", source.name).strip("._-") or "model"
    model, labels = in_float32(source.model), tuple(source.labels)
    return dataclasses.replace(source, model=model, labels=labels, name=name)


def _classes(model):
    shapes = [tuple(output.shape) for output in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] is None:
        raise ValueError(
            f"Only classifiers can be exported, with one output (B, K). Received {model.name}: {shapes}; "
            "build the model with include_top=True."
        )
    return shapes[0][1]
