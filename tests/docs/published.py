"""Figures of the published models, as the tables of the pages show them: from the catalogue and the results."""

import csv
import pathlib

from keras_vit.weights import catalogue

ROOT = pathlib.Path(__file__).parents[2]
PARITY = "results/parity.csv"


def rows_of(name):
    """The rows of a CSV file of the repository, as dictionaries of texts."""
    with open(ROOT / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def multiply_adds():
    """{(public name, pixels): billions of multiply-adds for one image}, as `keras_vit.analysis.count` gives them."""
    return {
        (r["constructor"], int(r["size"])): int(r["ours"]) / 1e9 for r in rows_of("tests/analysis/multiply_adds.csv")
    }


def parity():
    """{public name: largest difference of the logits from the published code's, over its records}; compared ones only.

    In units of the logits' standard deviation.
    """
    found = {}
    for row in rows_of(PARITY):
        if row["largest_difference"]:
            found[row["variant"]] = max(found.get(row["variant"], 0.0), float(row["largest_difference"]))
    return found


def default_row(variant):
    """The catalogue's row that `weights="imagenet"` stands for, else the first; None without published weights."""
    rows = catalogue.rows(variant.name)
    return next((row for row in rows if row.default), rows[0] if rows else None)


def top1(row):
    """Accuracy in percent as text: the paper's, or timm's with a star; empty where neither is known."""
    return _number(row.top1) or f"{_number(row.top1_timm)}*".lstrip("*")


def _number(text):
    """The figure of a published accuracy such as "85.108@224(crop 0.9)"."""
    return str(text or "").split("@")[0].split(" ")[0]
