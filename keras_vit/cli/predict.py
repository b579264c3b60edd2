"""`keras-vit predict`: labels and scores for images, from any artifact."""

import contextlib
import functools
import sys

from keras_vit.cli.arguments import add_images, add_model, images_of, open_predictor, require_positive, verb_parser
from keras_vit.cli.progress import Progress
from keras_vit.system import startup

TOP = 5  # classes per image, where it has one label
BAR = 24  # characters of a score of 1
DESCRIPTION = """\
Classify images: print the best classes of each, or write them to a file:

    keras-vit predict runs/photos flower.jpg
    keras-vit predict runs/photos album/ 'more/*.png' --output found.csv
    find album -name '*.jpg' | keras-vit predict runs/photos - --output found.parquet

  .csv      path,label_1,score_1,label_2,score_2,...
  .jsonl    {"path": ..., "labels": [...], "scores": [...]}, a line per image
  .parquet  path, labels and scores, the latter two lists; needs pyarrow

Of a model with several labels per image, every class that an image has is printed, or "none"; a .csv is then
path,labels,scores with labels joined by "|". A model that has a score of known images marks those that are unknown,
and its files have the columns known_score and unknown.

Images that cannot be read are skipped, listed at the end, and the exit code is then 1.
"""


def parser():
    """The options of `keras-vit predict`."""
    parser = verb_parser("predict", DESCRIPTION)
    add_model(parser)
    add_images(parser)
    parser.add_argument(
        "--top", type=int, help="classes per image, at most (default: 5; of several labels, all that it has)"
    )
    parser.add_argument("--output", metavar="FILE", help="write to this .csv, .jsonl or .parquet file instead")
    return parser


def main(argv=None):
    """Print or write the best classes of every image; 1 if one of them could not be read."""
    arguments = parser().parse_args(argv)
    images = _images(arguments)

    startup.start_tensorflow()
    from keras_vit.prediction.for_many import for_many
    from keras_vit.prediction.many import best_classes, predict_files, printable

    predictor = for_many(open_predictor(arguments), len(images))
    top = arguments.top or (len(predictor.labels) if predictor.multi_label else TOP)
    k, least = min(top, len(predictor.labels), predictor.top_k or top), predictor.thresholds
    shown = arguments.output or not sys.stdout.isatty()  # else the answers themselves are seen
    progress, bad = Progress(len(images), "images") if shown else None, []
    with _rows(arguments.output, predictor, k) as write, contextlib.closing(
        predict_files(predictor, images, arguments.batch_size)
    ) as answers:
        for number, answer in enumerate(answers, 1):
            if answer.scores is None:
                bad.append(answer)
            else:
                best, scores = best_classes(answer, k, least)
                write(answer.path, [predictor.labels[one] for one in best], scores, _known(predictor, answer))
            if progress:
                progress(number)
    if progress:
        progress.close()
    if arguments.output:
        print(f"{len(images) - len(bad)} of {len(images)} images: {arguments.output}")
    for answer in bad:
        print(f"keras-vit predict: skipped {printable(answer.path)}: {printable(answer.reason)}", file=sys.stderr)
    return 1 if bad else 0


def _images(arguments):
    """The paths of the images; all that can be refused before the model is loaded is."""
    from keras_vit.prediction.table import check_table

    if arguments.top is not None:
        require_positive(arguments, "top")
    if arguments.output:
        check_table(arguments.output)
    return images_of(arguments, "predict")


def _known(predictor, answer):
    """(score, whether the image is unknown), of a model that has such a score; else None."""
    return None if answer.known is None else (answer.known, bool(predictor.is_unknown(answer.known)))


def _rows(output, predictor, k):
    """A context that yields what writes an image's row, or prints it."""
    from keras_vit.prediction.table import table

    if output:
        return table(output, None if predictor.multi_label else k, known=predictor.unknown is not None)
    return contextlib.nullcontext(functools.partial(_print, predictor.unknown))


def _print(unknown, path, labels, scores, known):
    from keras_vit.prediction.many import printable

    print(printable(path))
    if known and known[1]:
        print(f"  unknown: {unknown['score']} {known[0]:.2f}, below {unknown['threshold']:.2f}")
    if not labels:
        print("  none")
    width = max(map(len, labels), default=0)
    for label, score in zip(labels, scores):
        print(f"  {label:{width}}  {100 * score:6.2f} %  {'#' * round(BAR * float(score))}".rstrip())
