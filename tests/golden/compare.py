"""Compares keras_vit with records of the published code:  python -m tests.golden.compare [--csv FILE] [records/*.npz]

Rebuilds each record's synthetic weights, writes them as safetensors in the record's own layout, and loads them through
the public API. Prints a line per record; exit status 1 if any falls short. Without names it takes all the records.
The CSV keeps the rows of records not compared this time, and lists every public name that has none.
"""

import argparse
import csv
import json
import pathlib
import re
import sys
import tempfile
from dataclasses import asdict, dataclass, fields

import keras
import numpy as np
from safetensors.numpy import save_file

import keras_vit
from keras_vit.models import VARIANTS
from keras_vit.sources.registry import lookup
from tests.golden.seeded import seeded, seeded_image

RECORDS = pathlib.Path(__file__).parent / "records"
# Published as repositories that cannot be installed; a few of each were recorded from copies of those.
NOT_INSTALLABLE = re.compile(r"T2TViT|PVT(?!V2)|ConvNeXtIso")


@dataclass(frozen=True)
class Comparison:
    """One row of results/parity.csv; differences in units of the reference logits' standard deviation."""

    variant: str
    reference_name: str
    image_size: str
    resampled: bool
    reference: str
    largest_difference: float
    tolerance: float
    parameters: int
    reference_parameters: int
    note: str = ""

    @property
    def passed(self):
        return self.largest_difference <= self.tolerance and self.parameters == self.reference_parameters


COLUMNS = [column.name for column in fields(Comparison)]


def write_weights(meta, path):
    """The record's weight file."""
    arrays = {}
    for key, shape in meta["keys"].items():
        if key not in meta.get("integer_or_mask", ()):
            array = seeded(meta.get("aliases", {}).get(key, key), tuple(shape))
            arrays[key] = np.ascontiguousarray(array, "float32").reshape(shape)
    save_file(arrays, path)


def compare(path):
    """Loads a record and runs our model on its input, as the second image of a batch of two."""
    record = np.load(path)
    meta, reference = json.loads(str(record["meta"])), record["logits"]
    size = (*meta["image_size"], 3)
    with tempfile.TemporaryDirectory() as folder:
        weights = pathlib.Path(folder) / "weights.safetensors"
        write_weights(meta, weights)
        model = keras_vit.create_model(
            meta["name"], weights=weights, input_shape=size, classes=len(reference), classifier_activation=None
        )
    images = np.concatenate([seeded_image(meta["input_seed"] + 1000, *size), seeded_image(meta["input_seed"], *size)])
    logits = keras.ops.convert_to_numpy(model(images, training=False))[1].astype("float64")
    looser = meta["resampled"] or re.search(r"_r\d|_r_", meta["name"])  # hybrids and resampled positions
    return Comparison(
        variant=lookup(meta["name"])[0].name,
        reference_name=meta.get("reference_name", meta["name"]),
        image_size="x".join(map(str, meta["image_size"])),
        resampled=meta["resampled"],
        reference=meta["source"],
        largest_difference=float(np.abs(logits - reference).max() / reference.std()),
        tolerance=max(5e-5 if looser else 1e-5, 5 * meta["float32_noise"]),
        parameters=model.count_params(),
        reference_parameters=meta["parameters"],
        note=meta.get("note", ""),
    )


def as_text(comparison):
    """The cells of a row."""
    numbers = {column: f"{getattr(comparison, column):.2e}" for column in ("largest_difference", "tolerance")}
    return {column: str(value) for column, value in asdict(comparison).items()} | numbers


def not_compared(variant):
    """The cells of a variant without a record."""
    why = "the published code is in no package" if NOT_INSTALLABLE.match(variant.name) else "no record"
    note = f"not compared: {why}"
    return dict.fromkeys(COLUMNS, "") | {"variant": variant.name, "reference_name": variant.alias, "note": note}


def write_csv(path, compared):
    """Puts the rows into the table, in place of earlier ones of the same records, and lists every name without any."""
    rows = []
    if path.exists():
        with open(path, newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["reference"]]
    rows = {record_of(row): row for row in [*rows, *map(as_text, compared)]}.values()
    names = {row["variant"] for row in rows}
    lacking = [not_compared(variant) for variant in VARIANTS.values() if variant.name not in names]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*rows, *lacking], key=order))


def record_of(row):
    """What a row is the comparison of."""
    return row["reference_name"], row["image_size"], row["resampled"]


def order(row):
    """Rows in the order of the published models, then by size."""
    size = [int(side) for side in row["image_size"].split("x") if side]
    return list(VARIANTS).index(row["variant"]), size, row["reference_name"], row["resampled"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="*", type=pathlib.Path, help="all of tests/golden/records if not given")
    parser.add_argument("--csv", type=pathlib.Path, help="the table to bring up to date, e.g. results/parity.csv")
    arguments = parser.parse_args()
    compared = []
    for path in arguments.records or sorted(RECORDS.glob("*.npz")):
        row = compare(path)
        keras.backend.clear_session()
        compared.append(row)
        verdict = "ok  " if row.passed else "FAIL"
        print(f"{verdict} {path.stem}: {row.largest_difference:.1e} of {row.tolerance:.0e}", flush=True)
        if arguments.csv:
            write_csv(arguments.csv, compared)
    return int(not all(row.passed for row in compared))


if __name__ == "__main__":
    sys.exit(main())
