"""`keras-vit check-data`: what is wrong with the images of a data set, before training starts."""

import csv
import sys

from keras_vit.cli.arguments import add_max_pixels, verb_parser
from keras_vit.cli.images import add_shard

DESCRIPTION = """\
Read every file of a data set and tell which are unreadable, truncated, not RGB, of another format than their name says,
there twice, or no images, which folders are which split, which class folders are empty or differ between splits, and
how many images the rarest and the largest class have. Of shards, the checksums are compared. Exit code 1 if images
cannot be read, or training would refuse the data set; 0 otherwise.

With --shard 3/16 every sixteenth file is read, from the third, on one of several machines. What is wrong with folders
is told by each of them; files that are there twice are found within a part only.
"""


def parser():
    """The options of `keras-vit check-data`."""
    parser = verb_parser("check-data", DESCRIPTION)
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of class folders, or of train/, val/ and test/ (or Training/, valid/, test_set/, ...) with "
        "class folders; a manifest, FILE.csv; or a folder of shards",
    )
    parser.add_argument("--csv", metavar="FILE", help="write every finding to this file: problem,path,detail")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read (default: one per core)")
    add_max_pixels(parser)
    add_shard(parser, "read the I-th of N parts of the files, 1 <= I <= N, on this machine")
    return parser


def main(argv=None):
    """Print the report, write the CSV file, and return the exit code."""
    arguments = parser().parse_args(argv)

    from keras_vit.training.datasets.check import check

    report = check(arguments.source, arguments.workers, _progress, arguments.shard)
    _print(report)
    if arguments.csv:
        _write(arguments.csv, report.findings)
    return int(report.serious)


def _print(report):
    from keras_vit.images.names import printable
    from keras_vit.training.datasets.check import PROBLEMS

    parts = "" if report.splits == ("all",) else f" in {', '.join(report.splits)}"
    print(f"{report.files:,} files of {report.classes} classes{parts}")
    for name, text in (report.notes | _spreads(report)).items():
        print(f"{name}: {text}")
    if not report.findings:
        print("Nothing is wrong with them.")
        return
    rows = [("problem", "files", "in training it", "the first")]
    for problem, meaning in PROBLEMS.items():
        found = [finding for finding in report.findings if finding.problem == problem]
        if found:
            rows.append((problem, f"{len(found):,}", meaning, printable(f"{found[0].path} ({found[0].detail})")))
    problem, files, meaning, _ = (max(map(len, column)) for column in zip(*rows))
    for row in rows:
        print(f"{row[0]:{problem}}  {row[1]:>{files}}  {row[2]:{meaning}}  {row[3]}")


def _spreads(report):
    """{"images per class": text}: of each split, and what training can do where they are very uneven."""
    from keras_vit.training.datasets.evenness import VERY_UNEVEN, ratio, spread

    counts = {split: counts for split, counts in report.counts.items() if counts}
    texts = [f"{split} " * (split != "all") + spread(list(c), list(c.values())) for split, c in counts.items()]
    trained = counts.get("train", counts.get("all"))
    if trained and VERY_UNEVEN <= ratio(list(trained.values())) < float("inf"):
        texts.append("training can make up for it by --class-weights or --sampler")
    return {"images per class": "; ".join(texts)} if texts else {}


def _write(path, findings):
    from keras_vit.system.files import atomic_file

    with atomic_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("problem", "path", "detail"))
            writer.writerows(findings)


def _progress(done, total):
    if sys.stderr.isatty() and (done % 100 == 0 or done == total):
        print(f"\r{done:,} of {total:,}", end="\n" if done == total else "", file=sys.stderr)
