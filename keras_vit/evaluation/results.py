"""A file of results: a line per measurement, timm's columns and then ours.

Model, size, crop, runtime, quantization and weights identify a line; a new measurement of the same replaces it. There
is a file per data set, as in timm: results-imagenet.csv, results-imagenet-real.csv.
"""

import csv
from pathlib import Path

from keras_vit.system.files import atomic_file
from keras_vit.weights.download import sha256

TIMM = ("model", "img_size", "top1", "top1_err", "top5", "top5_err", "param_count", "crop_pct", "interpolation")
HEADER = (*TIMM, "runtime", "quant", "n_images", "weights_sha256")
MEASURED = ("top1", "top1_err", "top5", "top5_err", "n_images")


def result(predictor, accuracy):
    """One line of the file, {column: text}; empty where a column does not apply.

    Accuracies in percent, parameters in millions.
    """
    spec = predictor.spec
    ranked = accuracy.k == min(5, len(predictor.labels))
    return {
        "model": predictor.name,
        "img_size": "" if spec is None else spec.size_name,
        "top1": f"{accuracy.top1:.3f}",
        "top1_err": f"{100 - accuracy.top1:.3f}",
        "top5": f"{accuracy.top5:.3f}" if ranked else "",
        "top5_err": f"{100 - accuracy.top5:.3f}" if ranked else "",
        "param_count": f"{predictor.parameters / 1e6:.2f}" if predictor.parameters else "",
        "crop_pct": "" if spec is None else str(spec.crop_pct),
        "interpolation": "" if spec is None else spec.interpolation,
        "runtime": predictor.runtime,
        "quant": predictor.quantization,
        "n_images": str(accuracy.images),
        "weights_sha256": sha256(predictor.weights) if predictor.weights else "",
    }


def read_results(path):
    """The lines of a file as dictionaries; none if there is no file.

    Raises:
        ValueError: naming other columns, or a line with more or fewer.
    """
    path = Path(path)
    if not path.is_file():  # there is none, or a device, which has no lines
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read_rows(path, csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a file of results: {error}. Give another file.") from error


def _read_rows(path, reader):
    if tuple(reader.fieldnames or ()) != HEADER:
        raise ValueError(
            f"{path} is not a file of results. Expected the columns {','.join(HEADER)}. Received: "
            f"{','.join(reader.fieldnames or ())[:300] or 'none'}. Give another file."
        )
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"{path}, line {reader.line_num}: expected {len(HEADER)} columns.")
        rows.append(row)
    return rows


def write_result(path, row):
    """Write a line into the file: in place of the one of the same setup, else at the end."""
    rows = read_results(path)
    kept = [old for old in rows if _key(old) != _key(row)]
    place = next((i for i, old in enumerate(rows) if _key(old) == _key(row)), len(rows))
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept[:place], row, *kept[place:]])


def _key(row):
    return tuple(row[column] for column in HEADER if column not in MEASURED)
