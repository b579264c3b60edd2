"""Text files that a run writes: args.yaml, summary.csv, bad_files.txt."""

import csv
import json
from pathlib import Path

from keras_vit.sources import run_folder
from keras_vit.system.files import atomic_file
from keras_vit.training.datasets.splits import NAME_IN_RUNS

PACE = ("gradient_norm", "seconds", "images_per_second")
SUMMARY = (  # columns of a run with one label per image; the first six are named as in timm
    *("epoch", "train_loss", "eval_loss", "eval_top1", "eval_top5", "lr", "train_top1", *PACE),
    *("eval_balanced_accuracy", "eval_macro_f1"),
)
MULTI_LABEL_SUMMARY = (  # of one with several
    *("epoch", "train_loss", "eval_loss", "eval_map", "eval_micro_f1", "eval_macro_f1", "lr", "train_exact", *PACE),
)
LATER = ("eval_balanced_accuracy", "eval_macro_f1")  # columns that earlier versions did not have


def write_settings(folder, settings):
    """Write args.yaml: a line `name: value` per setting, the values as JSON, which is valid YAML."""
    _write(Path(folder) / run_folder.SETTINGS, [f"{name}: {json.dumps(v)}" for name, v in settings.items()])


def read_settings(folder):
    """The settings in args.yaml; None if there is no such file."""
    path = Path(folder) / run_folder.SETTINGS
    if not path.is_file():
        return None
    try:
        pairs = [line.split(": ", 1) for line in path.read_text(encoding="utf-8-sig").splitlines()]
        return {name: json.loads(value) for name, value in pairs}
    except (ValueError, RecursionError) as error:  # the second, where lists are nested a thousand deep
        raise ValueError(f"{path} is not the args.yaml of a run: {error}") from error


def columns_of(row):
    """The columns that a run has, by a row of its history."""
    return MULTI_LABEL_SUMMARY if "eval_map" in row else SUMMARY


def write_summary(folder, history):
    """Write summary.csv, a row per epoch; what an epoch of an earlier version did not measure stays empty."""
    columns = columns_of(history[0])
    write_csv(Path(folder) / run_folder.SUMMARY, columns, [dict.fromkeys(columns, "") | row for row in history])


def write_csv(path, columns, rows):
    """Write dictionaries as a CSV file with these columns; floats with six significant digits."""
    with atomic_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in rows:
                writer.writerow([_short(row[column]) for column in columns])


def write_bad_files(folder, bad):
    """Write bad_files.txt, a line `split<TAB>file<TAB>reason` per image that cannot be read; remove it if all can.

    Args:
        bad: (split, file, reason) per image.
    """
    path = Path(folder) / run_folder.BAD_FILES
    if bad:
        _write(path, ["\t".join((NAME_IN_RUNS[split], *entry)) for split, *entry in bad])
    else:
        path.unlink(missing_ok=True)


def _write(path, lines):
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value
