"""`keras-vit list`: the names there are."""

import csv
import sys

from keras_vit.cli.arguments import complete_name, verb_parser

HEADER = ("model", "params_M", "img_size", "top1", "weights")


def parser():
    """The options of `keras-vit list`."""
    parser = verb_parser("list", "List models.")
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'swin*'").completer = complete_name
    parser.add_argument("--pretrained", action="store_true", help="one line per set of weights")
    parser.add_argument("--csv", action="store_true", help="comma-separated, for programs")
    return parser


def main(argv=None):
    """Print a table of models, or with --pretrained of their weights."""
    arguments = parser().parse_args(argv)

    from keras_vit.sources.registry import list_models

    names = list_models(arguments.pattern, pretrained=arguments.pretrained)
    if not names:
        raise ValueError(f"no model is called like {arguments.pattern!r}; a pattern such as '*swin*' finds more.")
    table = [HEADER, *map(_line, names)]
    if arguments.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(table)
    else:
        _print_aligned(table)
        print(f"{len(names)} {'sets of weights' if arguments.pretrained else 'models'}")
    return 0


def _line(name):
    """The cells of a model with the tags of its weights, or of a set of weights.

    The accuracy is the paper's, of the default weights; timm's measurement where the paper has none.
    """
    from keras_vit.sources.registry import lookup
    from keras_vit.weights import catalogue

    entry, row = lookup(name)
    size = row.size if row else catalogue.image_size(entry.name)
    size = str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
    published = row or next((row for row in catalogue.rows(entry.name) if row.default), None)
    top1 = (published.top1 or published.top1_timm.partition("@")[0]) if published else ""
    weights = row.pretraining if row else " ".join(catalogue.tags(entry.name))
    return name, f"{entry.parameters / 1e6:.1f}", size, top1, weights


def _print_aligned(table):
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADER) - 1)]
    for line in table:
        cells = [f"{cell:{width}}" for cell, width in zip(line, widths)]
        print("  ".join([*cells, line[-1]]).rstrip())
