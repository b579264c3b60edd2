"""`keras-vit predict`: labels and scores for pictures, from any artifact."""

import argparse
import sys

from keras_vit.cli import source

BAR = 24  # characters of a score of 1


def main(argv=None):
    """Print the best classes of every picture; 1 if one of them could not be read."""
    arguments = _parser().parse_args(argv)
    if arguments.top < 1:
        raise ValueError(f"--top must be at least 1. Received: {arguments.top}.")

    from keras_vit.labels import decode_predictions

    predictor = source.open_source(arguments)
    status = 0
    for path in arguments.images:
        try:
            scores = predictor.predict([path])
        except (ValueError, OSError) as error:
            print(f"keras-vit predict: {error}", file=sys.stderr)
            status = 1
            continue
        (best,) = decode_predictions(scores, arguments.top, predictor.labels)
        print(path)
        _print_scores([(label, score) for _, label, score in best])
    return status


def _parser():
    parser = argparse.ArgumentParser("keras-vit predict", description="Classify pictures.")
    source.add_arguments(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files")
    parser.add_argument("--top", type=int, default=5, help="classes per picture (default: 5)")
    return parser


def _print_scores(best):
    width = max(len(label) for label, _ in best)
    for label, score in best:
        print(f"  {label:{width}}  {100 * score:6.2f} %  {'#' * round(BAR * score)}".rstrip())
