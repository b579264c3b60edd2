"""What a run writes down while it goes: args.yaml, summary.csv, TensorBoard, bad_files.txt."""

import csv
import json
from pathlib import Path

from keras_vit.files import atomic_file

SUMMARY = (  # the first six as timm calls them
    "epoch",
    "train_loss",
    "eval_loss",
    "eval_top1",
    "eval_top5",
    "lr",
    "train_top1",
    "gradient_norm",
    "seconds",
    "images_per_second",
)
SCALARS = ("train_loss", "eval_loss", "train_top1", "eval_top1", "eval_top5", "lr", "gradient_norm")


def write_settings(folder, settings):
    """args.yaml: one `name: value` a line, the values as JSON, which YAML includes."""
    _write(folder, "args.yaml", [f"{name}: {json.dumps(v)}" for name, v in settings.items()])


def read_settings(folder):
    """What `write_settings` wrote, or None where there is no args.yaml."""
    path = Path(folder) / "args.yaml"
    if not path.is_file():
        return None
    try:
        pairs = [line.split(": ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: json.loads(value) for name, value in pairs}
    except ValueError as error:
        raise ValueError(f"{path} is not the args.yaml of a run: {error}") from error


def write_summary(folder, history):
    """summary.csv, a row per epoch."""
    write_csv(Path(folder) / "summary.csv", SUMMARY, history)


def write_csv(path, columns, rows):
    """A CSV file with these columns, from dictionaries; floats with six significant digits."""
    with atomic_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in rows:
                writer.writerow([_short(row[column]) for column in columns])


def write_bad_files(folder, bad):
    """bad_files.txt: `part<TAB>file<TAB>reason` per picture that could not be read; no file where there are none."""
    path = Path(folder) / "bad_files.txt"
    if bad:
        _write(folder, path.name, ["\t".join(entry) for entry in bad])
    else:
        path.unlink(missing_ok=True)


class TensorBoard:
    """Scalars per epoch, below tensorboard/ in the run folder; nothing where `folder` is None."""

    def __init__(self, folder):
        import tensorflow as tf

        path = None if folder is None else str(Path(folder) / "tensorboard")
        self.writer = tf.summary.create_noop_writer() if path is None else tf.summary.create_file_writer(path)

    def write(self, row):
        """One epoch's scalars."""
        import tensorflow as tf

        with self.writer.as_default():
            for name in SCALARS:
                tf.summary.scalar(name, row[name], step=row["epoch"])
        self.writer.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.writer.close()


def _write(folder, name, lines):
    with atomic_file(Path(folder) / name) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value
