"""`keras-vit predict`: labels and scores for images, from any artifact."""

import sys

from keras_vit.cli.arguments import add_model, open_predictor, verb_parser
from keras_vit.system import startup

BAR = 24  # characters of a score of 1


def parser():
    """The options of `keras-vit predict`."""
    parser = verb_parser("predict", "Classify images.")
    add_model(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--top", type=int, default=5, help="classes per image (default: 5)")
    return parser


def main(argv=None):
    """Print the best classes of every image; 1 if one of them could not be read."""
    arguments = parser().parse_args(argv)
    if arguments.top < 1:
        raise ValueError(f"--top must be at least 1. Received: {arguments.top}.")

    startup.start_tensorflow()
    from keras_vit.imagenet.labels import decode_predictions

    predictor = open_predictor(arguments)
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


def _print_scores(best):
    width = max(len(label) for label, _ in best)
    for label, score in best:
        print(f"  {label:{width}}  {100 * score:6.2f} %  {'#' * round(BAR * score)}".rstrip())
