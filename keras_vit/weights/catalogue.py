"""The published weights: catalogue.csv as rows, one per constructor and tag.

Columns of catalogue.csv
    family, constructor   the paper's family and the public name, e.g. "Swin", "SwinT"
    tag, default          `weights=tag`; "yes" marks the row of `weights="imagenet"`
    timm_name             the same weights in timm, or empty
    classes               width of the classifier; 0 where the published file has none
    size                  side of the square input in pixels
    mean, std, crop_pct, crop_mode, interpolation    preprocessing, as timm evaluates these weights
    hub_id, hub_file      repository on the Hugging Face hub and its file; the preferred source
    url                   the official file
    licence               of the weights; for files of timm's hub, as stated there
    pretraining           data they were trained on
    top1, top1_timm       ImageNet-1k accuracy in percent, published and measured by timm
    params                millions of parameters, counted; empty where not counted
    notes                 other remarks
"""

import csv
import difflib
import functools
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Row:
    """One published set of weights; the fields are the columns of catalogue.csv."""

    family: str
    constructor: str
    tag: str
    default: bool
    timm_name: str
    classes: int
    size: tuple[int, int]  # H, W in pixels
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_pct: float
    crop_mode: str
    interpolation: str
    hub_id: str
    hub_file: str
    url: str
    licence: str
    pretraining: str
    top1: str
    top1_timm: str
    params: float | None  # millions
    notes: str

    @property
    def name(self):
        """The name under which constructor and tag are written together, e.g. "SwinT.ms_in1k"."""
        return f"{self.constructor}.{self.tag}"

    @property
    def spec(self):
        """The preprocessing these weights expect, a `keras_vit.preprocessing.Spec`."""
        from keras_vit.preprocessing.spec import Spec  # here: `keras-vit list` needs neither it nor NumPy

        return Spec(
            size=self.size,
            mean=self.mean,
            std=self.std,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
        )


def rows(constructor=None):
    """The rows of a constructor, the default first, as a tuple; without a constructor, all rows.

    A constructor without published weights has no rows.
    """
    if constructor is None:
        return _all_rows()
    return _by_constructor().get(constructor, ())


def default(constructor):
    """The row of `weights="imagenet"`.

    Raises:
        ValueError: with the constructor's tags, where no row is the default.
    """
    row = next((row for row in rows(constructor) if row.default), None)
    if row is None:
        raise ValueError(
            f'{constructor} has no default weights, which weights="imagenet" stands for. {_tags(constructor)}'
        )
    return row


def find(constructor, tag):
    """The row of a constructor and tag.

    Raises:
        ValueError: naming the closest tags.
    """
    for row in rows(constructor):
        if row.tag == tag:
            return row
    near = difflib.get_close_matches(str(tag), [row.tag for row in rows(constructor)], n=3, cutoff=0.4)
    closest = f" Closest: {', '.join(near)}." if near else ""
    raise ValueError(
        f"{constructor} has no weights of this tag. Received: weights={tag!r}.{closest} {_tags(constructor)}"
    )


def tags(constructor):
    """The tags of a constructor's weights, the default's first."""
    return tuple(row.tag for row in rows(constructor))


def image_size(constructor):
    """(H, W) in pixels of the default weights; 224 where there are none."""
    return next((row.size for row in rows(constructor) if row.default), (224, 224))


def _tags(constructor):
    """The sentence of an error that lists the tags."""
    listed = ", ".join(tags(constructor))
    return f"Its tags: {listed}." if listed else "No weights were published for it: pass weights=None or a path."


@functools.cache
def _by_constructor():
    groups = {}
    for row in _all_rows():
        groups.setdefault(row.constructor, []).append(row)
    return {name: tuple(sorted(group, key=lambda r: not r.default)) for name, group in groups.items()}


@functools.cache
def _all_rows():
    path = resources.files("keras_vit.weights") / "catalogue.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_row(cells) for cells in csv.DictReader(file))


def _row(cells):
    side = int(cells["size"])
    return Row(
        **cells
        | {
            "default": cells["default"] == "yes",
            "classes": int(cells["classes"]),
            "size": (side, side),
            "mean": _three(cells["mean"]),
            "std": _three(cells["std"]),
            "crop_pct": float(cells["crop_pct"]),
            "params": float(cells["params"]) if cells["params"] else None,
        }
    )


def _three(cell):
    """Three numbers separated by spaces, as a tuple."""
    red, green, blue = map(float, cell.split())
    return red, green, blue
