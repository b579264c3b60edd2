"""`keras-vit predict`: labels and scores for images, from any artifact."""

import contextlib
import sys

from keras_vit.cli.arguments import add_images, add_model, images_of, open_predictor, require_positive, verb_parser
from keras_vit.cli.progress import Progress
from keras_vit.system import startup

BAR = 24  # characters of a score of 1
DESCRIPTION = """\
Classify images: print the best classes of each, or write them to a file:

    keras-vit predict runs/photos flower.jpg
    keras-vit predict runs/photos album/ 'more/*.png' --output found.csv
    find album -name '*.jpg' | keras-vit predict runs/photos - --output found.parquet

  .csv      path,label_1,score_1,label_2,score_2,...
  .jsonl    {"path": ..., "labels": [...], "scores": [...]}, a line per image
  .parquet  path, labels and scores, the latter two lists; needs pyarrow

Images that cannot be read are skipped, listed at the end, and the exit code is then 1.
"""


def parser():
    """The options of `keras-vit predict`."""
    parser = verb_parser("predict", DESCRIPTION)
    add_model(parser)
    add_images(parser)
    parser.add_argument("--top", type=int, default=5, help="classes per image (default: 5)")
    parser.add_argument("--output", metavar="FILE", help="write to this .csv, .jsonl or .parquet file instead")
    return parser


def main(argv=None):
    """Print or write the best classes of every image; 1 if one of them could not be read."""
    arguments = parser().parse_args(argv)
    images = _images(arguments)

    startup.start_tensorflow()
    from keras_vit.prediction.many import best_classes, predict_files, printable

    predictor = open_predictor(arguments)
    k = min(arguments.top, len(predictor.labels), predictor.top_k or arguments.top)
    shown = arguments.output or not sys.stdout.isatty()  # else the answers themselves are seen
    progress, bad = Progress(len(images), "images") if shown else None, []
    with _rows(arguments.output, k) as write, contextlib.closing(
        predict_files(predictor, images, arguments.batch_size)
    ) as answers:
        for number, answer in enumerate(answers, 1):
            if answer.scores is None:
                bad.append(answer)
            else:
                best, scores = best_classes(answer, k)
                write(answer.path, [predictor.labels[one] for one in best], scores)
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

    require_positive(arguments, "top")
    if arguments.output:
        check_table(arguments.output)
    return images_of(arguments, "predict")


def _rows(output, k):
    """A context that yields what writes an image's row, or prints it."""
    from keras_vit.prediction.table import table

    return table(output, k) if output else contextlib.nullcontext(_print)


def _print(path, labels, scores):
    from keras_vit.prediction.many import printable

    print(printable(path))
    width = max(map(len, labels))
    for label, score in zip(labels, scores):
        print(f"  {label:{width}}  {100 * score:6.2f} %  {'#' * round(BAR * float(score))}".rstrip())
