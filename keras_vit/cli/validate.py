"""`keras-vit validate`: accuracy, confusions and calibration over images with known classes."""

import sys
from pathlib import Path

from keras_vit.cli.arguments import add_model, open_predictor, verb_parser
from keras_vit.system import startup

DESCRIPTION = """\
Print top-1 and top-5 accuracy over the run's test images, or over those of --data-dir: a folder with a folder of
images per class, or a CSV file with the columns path,label and perhaps split. Classes are called as the model's label
or, for ImageNet, by WordNet id or number (ImageNet-V2's folders 0 to 999); --label-order and --class-names tell what
other names mean. Where scores are equal the class with the lower number goes first.

--output DIR writes metrics.json, classes.csv, confusions.csv, confusion.png, calibration.csv and reliability.png.

--img-size with several sizes measures the model at each, and prints accuracy against cost: multiply-adds of an image,
and the model's time for one in a batch. --output then has sizes.csv, sizes.png and a folder per size:

    keras-vit validate runs/photos --img-size 192 224 256 288 --output curve
"""


def main(argv=None):
    """Measure what the arguments say; 0, or an error."""
    arguments = parser().parse_args(argv)
    _refuse_early(arguments)

    startup.start_tensorflow()
    sizes = list(dict.fromkeys(arguments.img_size or [None]))  # None: the model's own
    if len(sizes) > 1:
        return _at_sizes(arguments, sizes)
    predictor = open_predictor(arguments, sizes[0])
    images = _images(arguments, predictor.labels)
    _measure(arguments, predictor, images, _real_labels(arguments, images, predictor.labels), arguments.output)
    return 0


def _at_sizes(arguments, sizes):
    """Measure the model at each size; print, and write, accuracy against cost."""
    from keras_vit.evaluation.sizes import as_table, at_size, write_sizes

    for size in sizes:  # one that the model cannot have is told before hours of measuring
        labels = open_predictor(arguments, size).labels
    images, measured = _images(arguments, labels), []
    real_labels = _real_labels(arguments, images, labels)
    for size in sizes:
        predictor = open_predictor(arguments, size)
        folder = arguments.output and Path(arguments.output, predictor.spec.size_name)
        counted, real = _measure(arguments, predictor, images, real_labels, folder)
        measured.append(at_size(predictor, counted, arguments.batch_size, real))
    print(as_table(measured))
    if arguments.output:
        write_sizes(arguments.output, measured, f"{predictor.name} ({predictor.kind}), {counted.images:,} images")
    return 0


def _measure(arguments, predictor, images, real_labels, folder):
    """Measure, print and write what one predictor gives; its accuracies, the second by ImageNet-ReaL or None."""
    from keras_vit.evaluation import accuracy, evaluate

    predictions = evaluate(predictor, images, arguments.batch_size, arguments.max_bad_fraction, _progress)
    for path, reason in predictions.bad:
        print(f"keras-vit validate: skipped {path}: {reason}", file=sys.stderr)
    counted, real = accuracy(predictions), _real_accuracy(predictions, real_labels)
    size = f" at {predictor.spec.size_name}" if arguments.img_size else ""
    print(_sentence(f"{predictor.name} ({predictor.kind}){size}", counted, len(predictions.bad)))
    for doubt in _doubts(arguments, predictor, predictions):
        print(f"keras-vit validate: WARNING: {doubt}", file=sys.stderr)
    if real:
        print(_sentence("ImageNet-ReaL", real))
    _write(arguments, predictor, predictions, counted, real, folder)
    return counted, real


def parser():
    """The options of `keras-vit validate`."""
    parser = verb_parser("validate", DESCRIPTION)
    add_model(parser, several_sizes=True)
    add = parser.add_argument
    add("--data-dir", metavar="DIR|CSV", help="images and their classes (default: the run's test images)")
    add(
        "--split",
        metavar="NAME",
        help="use this split of DIR, by any of its names (val, valid, Validation, ...), or the folder DIR/NAME, or the "
        "CSV file's lines with this split (default: all)",
    )
    add(
        "--label-order",
        choices=("name", "numeric", "sorted"),
        help="what the folders' names or the CSV file's labels are: the model's labels; the classes' numbers; or names "
        "whose order as strings is that of the numbers (default: labels, else numbers)",
    )
    add("--class-names", metavar="FILE", help="what --data-dir calls the classes, one name per line, in their order")
    add(
        "--real-labels",
        metavar="FILE",
        help="real.json of ImageNet-ReaL: measure by it too, on ILSVRC2012_val_*.JPEG; --results-file then gets that",
    )
    add("--batch-size", type=int, default=32)
    add(
        "--max-bad-fraction",
        type=float,
        default=0.05,
        help="fail if more of the images than this cannot be read (default: 0.05)",
    )
    add("--output", metavar="DIR", help="write figures and tables here")
    add("--predictions", metavar="CSV", help="write every image's best classes with their scores to this file")
    add(
        "--results-file",
        metavar="CSV",
        help="add a line with timm's columns to this file, or replace that of the same model, set-up and weights",
    )
    return parser


def _refuse_early(arguments):
    """What would otherwise fail after hours of measuring."""
    if arguments.predictions and len(arguments.img_size or ()) > 1:
        raise ValueError("--predictions is a file of one size. Give one --img-size, or leave --predictions out.")
    if arguments.output:
        import matplotlib  # noqa: F401
    if arguments.results_file:
        from keras_vit.evaluation.results import read_results

        read_results(arguments.results_file)


def _images(arguments, labels):
    from keras_vit.evaluation.images import label_images
    from keras_vit.sources.run_folder import read_labels

    if arguments.data_dir is None:
        return _test_images(arguments.source)
    class_names = read_labels(arguments.class_names) if arguments.class_names else None
    found = label_images(arguments.data_dir, labels, arguments.split, arguments.label_order, class_names)
    for name, text in found.notes.items():
        print(f"keras-vit validate: {name}: {text}", file=sys.stderr)
    return found.images


def _test_images(given):
    from keras_vit.sources.resolve import at_path
    from keras_vit.sources.run_folder import TEST_IMAGES, load_run

    found = at_path(given)
    if found is None or found.kind != "run" or not (found.path / TEST_IMAGES).is_file():
        raise ValueError(f"{given} is not a run folder with test images; give --data-dir.")
    return load_run(found.path).require_test_images()


def _doubts(arguments, predictor, predictions):
    from keras_vit.prediction.doubts import doubts_about, recorded_accuracy
    from keras_vit.sources.resolve import at_path

    as_trained = arguments.data_dir is None and arguments.img_size is None and arguments.crop_pct is None
    recorded = recorded_accuracy(at_path(arguments.source).path) if as_trained else None
    return doubts_about(predictor, predictions, recorded)


def _real_labels(arguments, images, labels):
    from keras_vit.evaluation.real import read_real_labels

    paths = [path for path, _ in images]
    return read_real_labels(arguments.real_labels, paths, len(labels)) if arguments.real_labels else None


def _real_accuracy(predictions, real_labels):
    from keras_vit.evaluation.real import real_accuracy

    return real_accuracy(predictions, real_labels) if real_labels else None


def _progress(done, total):
    if sys.stderr.isatty():
        print(f"\r{done} of {total}", end="\n" if done == total else "", file=sys.stderr)


def _sentence(what, counted, bad=0):
    return f"{what}: top-1 {counted.top1:.3f} %, top-{counted.k} {counted.top5:.3f} % on {counted.images} images" + (
        f", {bad} unreadable skipped" if bad else ""
    )


def _write(arguments, predictor, predictions, counted, real, folder):
    from keras_vit.evaluation.report import write_predictions, write_report
    from keras_vit.evaluation.results import result, write_result

    if arguments.predictions:
        write_predictions(arguments.predictions, predictions)
    if folder:
        write_report(folder, predictor, predictions, real)
    if arguments.results_file:
        write_result(arguments.results_file, result(predictor, real or counted))
