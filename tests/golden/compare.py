"""Compares keras_vit with records of the published code:  python -m tests.golden.compare [--csv FILE] records/*.npz

Rebuilds each record's weights by rule, writes them as safetensors in the record's own layout, and loads them through
the public API. Prints a line per record; exit status 1 if any falls short.
"""

import argparse
import csv
import json
import pathlib
import re
import sys
import tempfile
from dataclasses import asdict, dataclass

import keras
import numpy as np
from safetensors.numpy import save_file

import keras_vit
from keras_vit.zoo import lookup
from tests.golden.seeded import picture, seeded


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

    @property
    def passed(self):
        return self.largest_difference <= self.tolerance and self.parameters == self.reference_parameters


def write_weights(meta, path):
    """The record's weight file."""
    arrays = {}
    for key, shape in meta["keys"].items():
        if key not in meta["integer_or_mask"]:
            array = seeded(meta["aliases"].get(key, key), tuple(shape))
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
    images = np.concatenate([picture(meta["input_seed"] + 1000, *size), picture(meta["input_seed"], *size)])
    logits = keras.ops.convert_to_numpy(model(images, training=False))[1].astype("float64")
    looser = meta["resampled"] or re.search(r"_r\d|_r_", meta["name"])  # hybrids and resampled positions
    return Comparison(
        variant=lookup(meta["name"])[0].name,
        reference_name=meta["name"],
        image_size="x".join(map(str, meta["image_size"])),
        resampled=meta["resampled"],
        reference=meta["source"],
        largest_difference=float(np.abs(logits - reference).max() / reference.std()),
        tolerance=max(5e-5 if looser else 1e-5, 5 * meta["float32_noise"]),
        parameters=model.count_params(),
        reference_parameters=meta["parameters"],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="+", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path, help="append a row per record")
    arguments = parser.parse_args()
    failed = 0
    for path in arguments.records:
        row = compare(path)
        keras.backend.clear_session()
        failed += not row.passed
        verdict = "ok  " if row.passed else "FAIL"
        print(f"{verdict} {path.stem}: {row.largest_difference:.1e} of {row.tolerance:.0e}", flush=True)
        if arguments.csv:
            new = not arguments.csv.exists()
            with open(arguments.csv, "a", newline="") as file:
                writer = csv.DictWriter(file, asdict(row))
                writer.writerows([dict(zip(asdict(row), asdict(row)))] if new else [])
                writer.writerow(asdict(row))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
