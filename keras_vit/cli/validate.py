"""`keras-vit validate`: accuracy, confusions, calibration and unknown images, over images with known classes."""

import sys
from pathlib import Path

from keras_vit.cli.arguments import add_model, open_predictor, verb_parser
from keras_vit.system import startup

DESCRIPTION = """\
Print accuracy over the run's test images, or over those of --data-dir: a folder with a folder of images per class, or a
CSV file with the columns path,label and perhaps split. Classes are called as the model's label or, for ImageNet, by
WordNet id or number (ImageNet-V2's folders 0 to 999); --label-order and --class-names tell what other names mean. Where
scores are equal the class with the lower number goes first.

Printed are top-1 and top-5 accuracy, and by class: balanced accuracy (the mean of the classes' recalls), macro F1 and
the lowest recall. --output DIR writes metrics.json, classes.csv, confusions.csv, confusion.png, calibration.csv and
reliability.png.

Of a model with several labels per image it prints mAP, and micro and macro F1 at the model's thresholds; --data-dir is
then a CSV file with labels as a|b, or a column of 0 and 1 per class. classes.csv has average precision and F1 per
class.

--unknown FOLDER measures how well a run trained with --unknown-score tells the images of that folder, which are of none
of its classes, from the others: AUROC, and the share that is rejected at the run's threshold.

--tta averages the probabilities of several views of every image: itself and its mirror image (hflip), four corners and
the centre (fivecrop), or both (tencrop). --average best:3 averages the weights of a run's three best epochs, or of its
last ones, which it kept if it was trained with --average-hist 3; the mean is a run folder of its own, which is named.

--img-size with several sizes measures the model at each, and prints accuracy against cost: multiply-adds of an image,
and the model's time for one in a batch. --output then has sizes.csv, sizes.png and a folder per size:

    keras-vit validate runs/photos --img-size 192 224 256 288 --output curve
"""


def main(argv=None):
    """Measure what the arguments say; 0, or an error."""
    arguments = parser().parse_args(argv)
    _refuse_early(arguments)

    startup.start_tensorflow()
    if arguments.average:
        arguments.source = _average(arguments.source, arguments.average)
    sizes = list(dict.fromkeys(arguments.img_size or [None]))  # None: the model's own
    if len(sizes) > 1:
        return _at_sizes(arguments, sizes)
    predictor = _open(arguments, sizes[0])
    _refuse_for(arguments, predictor)
    images = _images(arguments, predictor)
    _measure(arguments, predictor, images, _real_labels(arguments, images, predictor.labels), arguments.output)
    return 0


def _at_sizes(arguments, sizes):
    """Measure the model at each size; print, and write, accuracy against cost."""
    from keras_vit.evaluation.sizes import as_table, at_size, write_sizes

    for size in sizes:  # one that the model cannot have is told before hours of measuring
        predictor = _open(arguments, size)
    _refuse_for(arguments, predictor)
    images, measured = _images(arguments, predictor), []
    real_labels = _real_labels(arguments, images, predictor.labels)
    for size in sizes:
        predictor = _open(arguments, size)
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
    sentence = _sentence_of_several(counted) if predictor.multi_label else _sentence(counted)
    skipped = f", {len(predictions.bad)} unreadable skipped" if predictions.bad else ""
    by_class = "" if predictor.multi_label else f"; {_classes_in_words(predictions)}"
    print(f"{predictor.name} ({predictor.kind}){size}: {sentence}{skipped}{by_class}")
    unknown = _unknown(arguments, predictor, predictions)
    for doubt in _doubts(arguments, predictor, predictions):
        print(f"keras-vit validate: WARNING: {doubt}", file=sys.stderr)
    if real:
        print(f"ImageNet-ReaL: {_sentence(real)}")
    _write(arguments, predictor, predictions, counted, real, folder, unknown)
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
    add("--unknown", metavar="FOLDER", help="images of none of the classes: how many of them does the run reject?")
    add("--tta", choices=("hflip", "fivecrop", "tencrop"), help="test-time augmentation: average over these views")
    add("--average", metavar="last:K|best:K", help="measure the mean of the weights of the run's last or best K epochs")
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
    if arguments.unknown and arguments.tta:
        raise ValueError("--unknown measures the score of single images, and --tta averages views. Give one of them.")
    if arguments.unknown:
        from keras_vit.evaluation.unknown import unknown_images

        unknown_images(arguments.unknown)
    if arguments.output:
        import matplotlib  # noqa: F401
    if arguments.results_file:
        from keras_vit.evaluation.results import read_results

        read_results(arguments.results_file)


def _refuse_for(arguments, predictor):
    """What cannot be measured of this model."""
    given = [f"--{n.replace('_', '-')}" for n in ("real_labels", "results_file") if getattr(arguments, n)]
    if predictor.multi_label and given:
        raise ValueError(
            f"{predictor.name} has several labels per image, and {' and '.join(given)} top-1 accuracies of one. Leave "
            "it out; --output has all measures in metrics.json and classes.csv."
        )
    if arguments.unknown:
        from keras_vit.evaluation.unknown import require_score

        require_score(predictor)


def _average(source, which):
    """The run folder with the mean of a run's epochs."""
    from keras_vit.sources.resolve import at_path
    from keras_vit.training.averaging import write_average

    found = at_path(source)
    if found is None or found.kind != "run":
        raise ValueError(f"--average is of a run's epochs, and {source} is no run folder.")
    folder, epochs = write_average(found.path, which)
    numbers = ", ".join(str(epoch + 1) for epoch in epochs)
    print(f"keras-vit validate: {folder} is the average of the epochs {numbers}", file=sys.stderr)
    return str(folder)


def _open(arguments, size):
    """The predictor, averaged over views if --tta says so."""
    from keras_vit.prediction.tta import augmented

    predictor = open_predictor(arguments, size)
    return augmented(predictor, arguments.tta) if arguments.tta else predictor


def _images(arguments, predictor):
    from keras_vit.evaluation.images import label_images
    from keras_vit.sources.run_folder import read_labels

    if arguments.data_dir is None:
        return _test_images(arguments.source)
    several = predictor.multi_label
    class_names = read_labels(arguments.class_names) if arguments.class_names else None
    names = arguments.label_order, class_names
    found = label_images(arguments.data_dir, predictor.labels, arguments.split, *names, multi_label=several)
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


def _sentence(counted):
    return f"top-1 {counted.top1:.3f} %, top-{counted.k} {counted.top5:.3f} % on {counted.images} images"


def _sentence_of_several(counted):
    tallies, exact = counted.tallies, 100 * counted.exact / counted.images
    return (
        f"mAP {100 * counted.map:.3f} %, micro F1 {100 * tallies.micro_f1:.3f} %, macro F1 "
        f"{100 * tallies.macro_f1:.3f} %, {exact:.3f} % with exactly their labels, on {counted.images} images"
    )


def _classes_in_words(predictions):
    """How accuracy is spread over the classes."""
    import numpy as np

    from keras_vit.evaluation.metrics import tallies_of

    tallies = tallies_of(predictions)
    worst = int(np.nanargmin(tallies.recall))
    return (
        f"balanced accuracy {100 * tallies.balanced_accuracy:.3f} %, macro F1 {100 * tallies.macro_f1:.3f} %, lowest "
        f"recall {100 * tallies.recall[worst]:.3f} % ({predictions.names[worst]})"
    )


def _unknown(arguments, predictor, predictions):
    """How well images of no class are told, printed; None without --unknown."""
    if not arguments.unknown:
        return None
    from keras_vit.evaluation.unknown import separation

    found = separation(predictor, predictions, arguments.unknown, arguments.batch_size)
    for path, reason in found.bad:
        print(f"keras-vit validate: skipped {path}: {reason}", file=sys.stderr)
    print(
        f"unknown images, by {found.score}: AUROC {100 * found.auroc:.3f} %; below the threshold "
        f"{found.threshold:.3f} are {100 * found.rejected:.3f} % of {len(found.unknown)} unknown images and "
        f"{100 * (1 - found.kept):.3f} % of {len(found.known)} known ones"
    )
    return found


def _write(arguments, predictor, predictions, counted, real, folder, unknown):
    from keras_vit.evaluation import multilabel_report, report
    from keras_vit.evaluation.results import result, write_result

    several = predictor.multi_label
    if arguments.predictions:
        write = multilabel_report.write_multilabel_predictions if several else report.write_predictions
        write(arguments.predictions, predictions)
    if folder and several:
        multilabel_report.write_multilabel_report(folder, predictor, predictions, unknown)
    elif folder:
        report.write_report(folder, predictor, predictions, real, unknown)
    if arguments.results_file:
        write_result(arguments.results_file, result(predictor, real or counted))
