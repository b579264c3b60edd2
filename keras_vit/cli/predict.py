"""`keras-vit predict`: labels and scores for images, from any artifact."""

import contextlib
import sys

from keras_vit.cli.arguments import add_model, open_predictor, require_positive, verb_parser
from keras_vit.cli.images import add_images, add_shard, images_of
from keras_vit.cli.progress import Batches, Progress
from keras_vit.system import places, startup
from keras_vit.system.uploads import file_output

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

What was answered is kept in FILE.partial until all is: the same command, after an interrupt, goes on with it. Many
machines each do a part, whose files `keras-vit merge found.csv` makes one:

    keras-vit predict runs/photos photos.csv --output found.csv --shard 3/16

Images that cannot be read are skipped, listed at the end, and the exit code is then 1.
"""


def parser():
    """The options of `keras-vit predict`."""
    parser = verb_parser("predict", DESCRIPTION)
    add_model(parser)
    add_images(parser)
    add_shard(parser)
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

    predictor = for_many(open_predictor(arguments), len(images))
    top = arguments.top or (len(predictor.labels) if predictor.multi_label else TOP)
    k = min(top, len(predictor.labels), predictor.top_k or top)
    bad = _write(arguments, predictor, images, k) if arguments.output else _show(arguments, predictor, images, k)
    for name, reason in bad:
        print(f"keras-vit predict: skipped {name}: {reason}", file=sys.stderr)
    return 1 if bad else 0


def _write(arguments, predictor, images, k):
    """Write the table, or the part of it that --shard names; returns (name, reason) of what cannot be read."""
    from keras_vit.prediction.to_file import Work, write_predictions

    with file_output(arguments.output, arguments.shard) as output:
        work = Work(images, output, arguments.batch_size, arguments.shard)
        with Batches("predict", work) as on_batch:
            written = write_predictions(work, predictor, k, on_batch)
    print(f"{written.rows} of {written.images} images: {places.inside_of(arguments.output, work.path)}")
    return written.bad


def _show(arguments, predictor, images, k):
    """Print the classes of every image; returns (name, reason) of what cannot be read."""
    from keras_vit.prediction.many import best_classes, predict_files, printable
    from keras_vit.prediction.to_file import known_of

    progress = None if sys.stdout.isatty() else Progress(len(images), "images")  # else the answers themselves are seen
    bad = []
    with contextlib.closing(predict_files(predictor, images, arguments.batch_size)) as answers:
        for number, answer in enumerate(answers, 1):
            if answer.scores is None:
                bad.append((printable(answer.path), printable(answer.reason)))
            else:
                best, scores = best_classes(answer, k, predictor.thresholds)
                labels = [predictor.labels[one] for one in best]
                _print(predictor.unknown, printable(answer.path), labels, scores, known_of(predictor, answer.known))
            if progress:
                progress(number)
    if progress:
        progress.close()
    return bad


def _images(arguments):
    """The paths of the images; all that can be refused before the model is loaded is."""
    from keras_vit.prediction.table import check_table

    if arguments.top is not None:
        require_positive(arguments, "top")
    if arguments.output:
        check_table(arguments.output)
    elif arguments.shard:
        raise ValueError("--shard writes a part of a file: add --output with the name of the whole.")
    return images_of(arguments, "predict")


def _print(unknown, path, labels, scores, known):
    print(path)
    if known and known[1]:
        print(f"  unknown: {unknown['score']} {known[0]:.2f}, below {unknown['threshold']:.2f}")
    if not labels:
        print("  none")
    width = max(map(len, labels), default=0)
    for label, score in zip(labels, scores):
        print(f"  {label:{width}}  {100 * score:6.2f} %  {'#' * round(BAR * float(score))}".rstrip())
