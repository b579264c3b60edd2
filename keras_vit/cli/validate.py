"""`keras-vit validate`: top-1 and top-5 accuracy over pictures with known classes."""

import argparse
import csv
import sys
from pathlib import Path

HEADER = (
    "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation,"
    "runtime,quant,n_images,weights_sha256"
).split(",")


def main(argv=None):
    """Print the accuracies; with --results-file, add a line to it."""
    arguments = _parser().parse_args(argv)

    from keras_vit.evaluation import class_folders, evaluate
    from keras_vit.predictor import open_predictor

    predictor = open_predictor(arguments.source, arguments.preprocessing, arguments.labels)
    if arguments.data_dir is None:
        pictures = _held_out(arguments.source)
    else:
        pictures = class_folders(Path(arguments.data_dir, arguments.split), predictor.labels)
    result = evaluate(predictor, pictures, arguments.batch_size, arguments.max_bad_fraction, _progress)
    for path in result.bad:
        print(f"keras-vit validate: skipped, not a readable picture: {path}", file=sys.stderr)
    print(
        f"{predictor.name} ({predictor.kind}): top-1 {result.top1:.3f} %, top-{result.k} "
        f"{result.top5:.3f} % on {result.images} pictures"
        + (f", {len(result.bad)} unreadable ones skipped" if result.bad else "")
    )
    if arguments.results_file:
        _append(Path(arguments.results_file), _record(predictor, result))
    return 0


def _parser():
    parser = argparse.ArgumentParser("keras-vit validate", description="Measure accuracy.")
    parser.add_argument(
        "source",
        help="a run folder, a .keras file, a SavedModel, a .tflite file, or a model's name",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder with a folder of pictures per class, called as the label or the WordNet id "
        "(default: the run's held-out pictures)",
    )
    parser.add_argument("--split", default="", metavar="NAME", help="use DIR/NAME, e.g. val (default: DIR itself)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--results-file", metavar="CSV", help="add a line to this file")
    parser.add_argument(
        "--max-bad-fraction",
        type=float,
        default=0.05,
        help="fail if more of the pictures than this cannot be read (default: 0.05)",
    )
    parser.add_argument(
        "--preprocessing",
        metavar="FILE|NAME",
        help="preprocessing.json, a run folder or a model's name; for sources that lack it",
    )
    parser.add_argument("--labels", metavar="FILE", help="the classes' names, one per line")
    return parser


def _held_out(source):
    from keras_vit.runs import Run

    if not Path(source).is_dir() or not Path(source, "run.json").is_file():
        raise ValueError(f"{source} is not a run folder with held-out pictures; give --data-dir.")
    return Run.open(source).held_out()


def _progress(done, total):
    if sys.stderr.isatty():
        print(f"\r{done} of {total}", end="\n" if done == total else "", file=sys.stderr)


def _record(predictor, result):
    """One line of the results file, by column."""
    from keras_vit.weights.download import sha256

    spec = predictor.spec
    size = "" if spec is None else "x".join(map(str, dict.fromkeys(spec.size)))
    return {
        "model": predictor.name,
        "img_size": size,
        "top1": f"{result.top1:.3f}",
        "top1_err": f"{100 - result.top1:.3f}",
        "top5": f"{result.top5:.3f}",
        "top5_err": f"{100 - result.top5:.3f}",
        "param_count": f"{predictor.parameters / 1e6:.2f}" if predictor.parameters else "",
        "crop_pct": "" if spec is None else spec.crop_pct,
        "interpolation": "" if spec is None else spec.interpolation,
        "runtime": predictor.runtime,
        "quant": predictor.quantisation,
        "n_images": result.images,
        "weights_sha256": sha256(predictor.weights) if predictor.weights else "",
    }


def _append(path, record):
    """The file as it was plus one line, whole or not at all."""
    from keras_vit.files import atomic_file

    old = path.read_text(encoding="utf-8") if path.exists() else ",".join(HEADER) + "\n"
    if old.splitlines()[:1] != [",".join(HEADER)]:
        raise ValueError(f"{path} is no results file: its first line is not {','.join(HEADER)}.")
    with atomic_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            file.write(old if old.endswith("\n") else old + "\n")
            csv.DictWriter(file, HEADER, lineterminator="\n").writerow(record)
