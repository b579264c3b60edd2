"""Models by name, without building one: `list_models`, `info`, and what a name such as "SwinT.ms_in22k" stands for.

Neither Keras nor TensorFlow is imported here. variants.csv has a row per public name, derived from the family files:
`python -m tests.sources.variants --write` writes it, and a test compares the two.
"""

import csv
import difflib
import fnmatch
import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from keras_vit.weights import catalogue


@dataclass(frozen=True)
class Entry:
    """A row of variants.csv; the fields are its columns."""

    name: str
    family: str
    paper: str  # arXiv identifier
    alias: str | None  # timm's name, or the official repository's where timm has none
    parameters: int  # at the native size with 1000 classes
    config: str  # the architecture, in words


@functools.cache
def entries():
    """{public name: Entry}, in the order of the families."""
    path = resources.files("keras_vit.sources") / "variants.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = tuple(csv.DictReader(file))
    return {
        row["name"]: Entry(**row | {"alias": row["alias"] or None, "parameters": int(row["parameters"])})
        for row in rows
    }


def lookup(name):
    """The model and the weights that a name stands for.

    Args:
        name: public name ("SwinT"), the name of timm or of the official repository
            ("swin_tiny_patch4_window7_224", "convnext_isotropic_small"), either with a tag after a dot
            ("SwinT.ms_in22k", "swin_tiny_patch4_window7_224.ms_in22k").

    Returns:
        (Entry, catalogue.Row or None).

    Raises:
        ValueError: with the closest names.
    """
    base, _, tag = str(name).partition(".")
    timm = next((row for row in catalogue.rows() if row.timm_name == name and row.constructor in entries()), None)
    if timm is not None:
        return entries()[timm.constructor], timm
    entry = entries().get(base) or _aliases().get(base)
    if entry is None:
        names = [*entries(), *_aliases()]
        near = [n for n in names if n.lower().startswith(base.lower())][:3]
        near = near or difflib.get_close_matches(base, names, n=3, cutoff=0.4)
        raise ValueError(
            f"No model is called {base!r}. Closest: {', '.join(near) or 'none'}. "
            "keras_vit.list_models() lists them all"
        )
    return entry, catalogue.find(entry.name, tag) if tag else None


def resolve_row(name):
    """The catalogue row of "SwinT" (its default weights), "SwinT.tag", or a timm name.

    A timm name without a tag ("vit_base_patch16_384") stands for the weights that timm has under this name.

    Raises:
        ValueError: with the closest names, or for a model without default weights.
    """
    entry, row = lookup(name)
    if row is not None:
        return row
    own = [row for row in catalogue.rows(entry.name) if row.timm_name and row.timm_name.partition(".")[0] == name]
    if own and not any(row.default for row in own):
        return own[0]
    return catalogue.default(entry.name)


def image_size_of(name):
    """(H, W) in pixels: the size in a name such as vit_base_patch16_384, else that of the default weights.

    224 where there are no weights.
    """
    entry, _ = lookup(name)
    sizes = {row.size for row in catalogue.rows(entry.name) if row.timm_name.partition(".")[0] == name}
    return sizes.pop() if len(sizes) == 1 else catalogue.image_size(entry.name)


def list_models(pattern="*", pretrained=False):
    """Public names that match a shell pattern; with `pretrained`, one "name.tag" for each set of weights.

    The pattern is matched with the public name and the alias, whatever the case: "swin*", "vit_base*".
    """
    found = []
    for entry in entries().values():
        texts = [entry.name.lower(), (entry.alias or "").lower()]
        names = [f"{entry.name}.{tag}" for tag in catalogue.tags(entry.name)] if pretrained else [entry.name]
        for name in names:
            if any(fnmatch.fnmatchcase(text, pattern.lower()) for text in (*texts, name.lower())):
                found.append(name)
    return found


@dataclass(frozen=True)
class Info:
    """Facts about a model and its published weights; `print` shows them."""

    name: str
    family: str
    paper: str
    parameters: int
    alias: str | None
    config: str
    weights: tuple[catalogue.Row, ...]

    def __str__(self):
        head = (
            f"{self.name}: {self.family}, arXiv:{self.paper}\n"
            f"  parameters    {self.parameters:,} at the native size with 1000 classes\n"
            f"  also known as {self.alias}\n"
            f"  architecture  {self.config}\n"
        )
        return head + ("\n".join(map(_describe, self.weights)) or "  no published weights")


def _describe(row):
    size = f"{row.size[0]} x {row.size[1]}"
    return (
        f"  weights {row.tag!r}{' (default)' if row.default else ''}\n"
        f"    origin        {row.hub_id or row.url}\n"
        f"    licence       {row.licence}\n"
        f"    trained on    {row.pretraining}; {row.classes or 'no'} classes\n"
        f"    top-1         {row.top1 or 'not published'} (as published, not measured here)\n"
        f"    preprocessing {size} pixels, {row.interpolation}, crop {row.crop_pct} ({row.crop_mode}), "
        f"mean {row.mean}, std {row.std}"
    )


def info(name):
    """Origin, licence, published accuracy and preprocessing of a model's weights, as an `Info` to print.

    Args:
        name: public name, timm's or the official repository's; with a tag, only those weights. Or a folder that
            transformers or timm saved, or its hf://owner/name: a `FolderInfo` of what it says of its model.

    Raises:
        ValueError: with the closest names; for a folder of another kind.
    """
    folder = _library_folder_at(str(name))
    if folder is not None:
        return folder
    entry, row = lookup(name)
    rows = (row,) if row is not None else catalogue.rows(entry.name)
    return Info(entry.name, entry.family, entry.paper, entry.parameters, entry.alias, entry.config, rows)


def _library_folder_at(name):
    """The `FolderInfo` of a path or reference; None for a name."""
    from keras_vit.sources import hub, library_folder  # here: a list of names needs neither

    if hub.is_reference(name):
        return library_folder.describe(hub.folder(name))
    path = Path(name)
    return library_folder.describe(path) if path.is_dir() and name not in entries() else None


@functools.cache
def _aliases():
    """Other names of models: timm's or the official repository's, at every size that weights exist for."""
    names = {entry.alias: entry for entry in entries().values() if entry.alias}
    for row in catalogue.rows():
        if row.timm_name and row.constructor in entries():
            names.setdefault(row.timm_name.partition(".")[0], entries()[row.constructor])
    return names
