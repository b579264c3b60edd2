"""Models of other libraries, made by the scripts beside this file, as keras_vit reads them:  reading.py ROOT

Prints a line per case; exit status 1 if one falls short. Outputs agree within 1e-5 of their standard deviation, or five
times what the library itself loses to float32, where that is more; labels are equal, and so is what images become, but
for roundings of single pixels.
"""

import json
import pathlib
import sys
from dataclasses import dataclass

import numpy as np

from tests.libraries.random_models import images, photo

TOLERANCE = 1e-5  # of the outputs' standard deviation
PIXEL = 2.01  # of 255: two resizers that round to whole numbers after each axis differ by one, rarely by two
MEAN = 0.05  # of 255, of all pixels of an image


@dataclass(frozen=True)
class Reading:
    """What was found of one case."""

    case: str
    container: str
    difference: float  # of the outputs, in their standard deviation
    own: float  # the same of the library itself, in float32
    labels: bool
    largest: float | None  # difference of prepared pixels, in 255ths
    mean: float | None

    @property
    def passed(self):
        prepared = self.mean is None or self.largest <= PIXEL and self.mean <= MEAN
        return self.difference <= max(TOLERANCE, 5 * self.own) and self.labels and prepared

    def __str__(self):
        pixels = "" if self.mean is None else f", pixels {self.largest:.2f} at most, {self.mean:.4f} on average"
        verdict = "" if self.passed else "   <-- FAILED"
        labels = "" if self.labels else ", LABELS DIFFER"
        return (
            f"{self.case} ({self.container}): {self.difference:.1e} (its own {self.own:.1e}){labels}{pixels}{verdict}"
        )


def compare(folder):
    """The `Reading` of ROOT/CASE."""
    import keras

    import keras_vit
    from keras_vit.preprocessing import as_taken
    from keras_vit.preprocessing.resizing import resize_array
    from keras_vit.sources.resolve import resolve

    entries = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    record, saved = np.load(folder / "record.npz"), folder / "model"
    options = {"logits": {"classifier_activation": None}, "pooled": {"pooling": "avg"}}.get(entries["output"], {})
    model = keras_vit.create_model(saved, **options)
    made = keras.ops.convert_to_numpy(model(images(entries["shape"]), training=False)).astype("float64")
    expected = record["outputs"]
    difference = float(np.abs(made.reshape(expected.shape) - expected).max() / expected.std())
    found, largest, mean = resolve(saved), None, None
    labels = found.labels()
    if "pixels" in record:
        spec = found.spec()
        prepared = as_taken(resize_array(photo(*entries["photo"]), spec), spec, "normalized")
        off = np.abs(prepared - record["pixels"]) * np.array(spec.std) * 255
        largest, mean = float(off.max()), float(off.mean())
    same = entries["labels"] is None or labels == tuple(entries["labels"])
    return Reading(folder.name, entries["container"], difference, entries["float32_error"], same, largest, mean)


def main(root):
    """Compare all cases below a folder; whether all passed."""
    readings = []
    for folder in sorted(path.parent for path in pathlib.Path(root).glob("*/record.json")):
        try:
            readings.append(compare(folder))
            print(readings[-1], flush=True)
        except ValueError as error:
            readings.append(None)
            print(f"{folder.name}: {error}   <-- FAILED", flush=True)
    passed = sum(reading is not None and reading.passed for reading in readings)
    print(f"{passed} of {len(readings)} agree.")
    return passed == len(readings) > 0


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1]))
