"""The README's table of models, made from the catalogue and the results:  python -m tests.readme [--write]

Prints the table; with --write, puts it into README.md. `tests/test_readme.py` holds the README against it.
"""

import csv
import pathlib
import sys

from keras_vit.models import VARIANTS
from keras_vit.weights import catalogue

ROOT = pathlib.Path(__file__).parents[1]
BEGIN, END = "<!-- zoo: begin, written by python -m tests.readme -->", "<!-- zoo: end -->"
HEADER = """| model | paper | parameters (M) | GMACs | top-1 | weights | licence | parity |
|---|---|---:|---:|---:|---|---|---:|"""


def rows_of(name):
    with open(ROOT / name, newline="") as file:
        return list(csv.DictReader(file))


def multiply_adds():
    """{(public name, pixels): billions of multiply-adds for one image}, as `keras_vit.analysis.count` gives them."""
    return {
        (r["constructor"], int(r["size"])): int(r["ours"]) / 1e9 for r in rows_of("tests/analysis/multiply_adds.csv")
    }


def default_row(variant):
    """The catalogue's row that `weights="imagenet"` stands for, else the first; None without published weights."""
    rows = catalogue.rows(variant.name)
    return next((row for row in rows if row.default), rows[0] if rows else None)


def published_top1(row):
    """Accuracy in percent as text: the paper's, or timm's with a star; empty where neither is known."""
    return _number(row.top1) or f"{_number(row.top1_timm)}*".lstrip("*")


def table():
    """A row per public name; figures of the default weights where there are any."""
    macs = multiply_adds()
    parity = {}
    for row in rows_of("results/parity.csv"):
        if row["largest_difference"]:
            parity[row["variant"]] = max(parity.get(row["variant"], 0.0), float(row["largest_difference"]))
    return "\n".join([HEADER, *(_line(variant, macs, parity) for variant in VARIANTS.values())])


def _line(variant, macs, parity):
    rows, row = catalogue.rows(variant.name), default_row(variant)
    if row is None:
        weights, licence, top1 = "none published", "", ""
    else:
        weights = f"`{row.tag}`" + (f" + {len(rows) - 1}" if len(rows) > 1 else "")
        licence, top1 = row.licence, published_top1(row)
    gmacs = macs.get((variant.name, variant.image_size[0])) or macs.get((variant.name, 224))
    measured = f"{parity[variant.name]:.0e}" if variant.name in parity else "not compared"
    cells = (
        f"`{variant.name}`",
        f"[{variant.family.paper}](https://arxiv.org/abs/{variant.family.paper})",
        f"{variant.parameters / 1e6:.1f}",
        f"{gmacs:.1f}" if gmacs else "not counted",
        *(top1, weights, licence, measured),
    )
    return f"| {' | '.join(cells)} |"


def _number(text):
    """The figure of a published accuracy such as "85.108@224(crop 0.9)"."""
    return str(text or "").split("@")[0].split(" ")[0]


def main():
    if "--write" not in sys.argv:
        sys.stdout.write(table() + "\n")
        return
    readme = (ROOT / "README.md").read_text()
    before, rest = readme.split(BEGIN)
    (ROOT / "README.md").write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
