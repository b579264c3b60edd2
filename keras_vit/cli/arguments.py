"""What the verbs' parsers have in common: their form, and the arguments that name a model."""

import argparse
import contextlib
import sys

from keras_vit.system import limits, places
from keras_vit.system.uploads import folder_output

INPUT_VALUES = ("pixels", "unit", "normalized")  # `keras_vit.preprocessing.INPUT_VALUES`, which --help does not import


def verb_parser(verb, description):
    """The parser of `keras-vit VERB`; its description is shown as it is written."""
    return argparse.ArgumentParser(
        f"keras-vit {verb}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_max_pixels(parser):
    """Add the option of the verbs that read images: how large one may be."""
    parser.add_argument(
        "--max-pixels",
        action=_SetMaxPixels,
        type=int,
        default=argparse.SUPPRESS,  # it is no setting of the verb
        metavar="N",
        help=f"refuse images of more pixels (default: ${limits.PIXELS_VARIABLE}, or {limits.MAX_PIXELS})",
    )


class _SetMaxPixels(argparse.Action):
    """Sets the limit where it is parsed: all that reads images asks for it, in processes that are started too."""

    def __call__(self, parser, namespace, values, option_string=None):
        if values < 1:
            parser.error(f"--max-pixels must be at least 1. Received: {values}.")
        limits.set_max_pixels(values)


def add_model(parser, several_sizes=False):
    """Add the arguments of the verbs that predict: the model, its preprocessing and its labels.

    Args:
        several_sizes: as `add_sizes`.
    """
    parser.add_argument(
        "source",
        metavar="MODEL",
        help="a run folder, a .keras file, a SavedModel, a .tflite file, a folder of transformers or timm, the "
        "hf://owner/name of one of these, or a model's name",
    ).completer = complete_model
    add_model_options(parser)
    add_sizes(parser, several_sizes)


def add_model_options(parser):
    """Add those of `add_model` that are options."""
    add_image_model_options(parser)
    parser.add_argument("--labels", metavar="FILE", help="the classes' names, one per line")


def add_input_values(parser):
    """Add the option that says which values a Keras model takes."""
    parser.add_argument(
        "--input-values",
        choices=INPUT_VALUES,
        help="which values a Keras model takes: pixels in [0, 255], which it normalises itself, values in [0, 1], or "
        "values normalized by the mean and std of its preprocessing (default: what is recorded, or what it computes)",
    )


def add_sizes(parser, several_sizes=False):
    """Add the options of the verbs that run models at other sizes than they were trained at.

    Args:
        several_sizes: whether --img-size takes more than one.
    """
    parser.add_argument(
        "--img-size",
        type=_image_size,
        nargs="+" if several_sizes else None,
        metavar="SIZE",
        help="the image size, 288 or, height first, 288x384, of a Keras model that was trained at another"
        f"{'; of several, each in turn' if several_sizes else ''} (default: that of its preprocessing)",
    )
    parser.add_argument(
        "--crop-pct",
        type=_crop_pct,
        metavar="SHARE",
        help="the centre crop's side as a share of the resized short side, 1 for all of it (default: that of its "
        "preprocessing)",
    )


def _image_size(text):
    """288 -> (288, 288); 288x384 -> (288, 384)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"expected a size in pixels such as 288, or 288x384. Received: {text}")
    return int(sides[0]), int(sides[-1])


def _crop_pct(text):
    try:
        share = float(text)
    except ValueError:
        share = 0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"expected a share above 0, up to 1. Received: {text}")
    return share


def add_image_model(parser):
    """Add the arguments of the verbs that embed: a Keras model, with a classifier or without, and its preprocessing."""
    parser.add_argument(
        "source",
        metavar="MODEL",
        help="a run folder, a .keras file, a folder of transformers or timm, hf://owner/name, or a model's name",
    ).completer = complete_model
    add_image_model_options(parser)
    add_sizes(parser)


def add_image_model_options(parser):
    """Add those of `add_image_model` that are options."""
    parser.add_argument(
        "--preprocessing",
        metavar="FILE|NAME",
        help="preprocessing.json, a run folder or a model's name; for sources that lack it",
    ).completer = complete_model
    add_input_values(parser)
    add_max_pixels(parser)


@contextlib.contextmanager
def local_output(arguments):
    """Let --output be a local folder in the block; what is there at the end is uploaded, if a URL was given."""
    asked = arguments.output
    with folder_output(asked) as arguments.output:
        yield
    if places.is_remote(asked):
        print(f"uploaded to {asked}")


def require_positive(arguments, option):
    """Raise a ValueError if an option, a whole number, is below 1."""
    if getattr(arguments, option) < 1:
        name = option.replace("_", "-")
        raise ValueError(f"--{name} must be at least 1. Received: {getattr(arguments, option)}.")


def open_predictor(arguments, img_size=None):
    """The `Predictor` that the arguments of `add_model` and `add_sizes` name.

    Args:
        img_size: (H, W) in pixels; that of the arguments if None.
    """
    from keras_vit.prediction.predictor import Predictor

    options = arguments.preprocessing, arguments.labels, arguments.input_values
    return Predictor.open(arguments.source, *options, img_size or arguments.img_size, arguments.crop_pct)


def add_exported_model(parser, several_sizes=False):
    """Add the arguments of the verbs that export: the model, and the images to check its artifacts on.

    Args:
        several_sizes: as `add_sizes`.
    """
    parser.add_argument(
        "source",
        metavar="MODEL_OR_RUN",
        help="a run folder, a .keras file, a folder of transformers or timm, the hf://owner/name of one of these, or a "
        "model's name such as SwinT.ms_in1k",
    ).completer = complete_model
    parser.add_argument(
        "--preprocessing",
        metavar="FILE",
        help="for a .keras file: preprocessing.json, or a model's name to take it from (default: the one beside it)",
    ).completer = complete_model
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="for a .keras file: the classes' names, one per line (default: the labels.txt beside it, or numbers)",
    )
    add_input_values(parser)
    add_sizes(parser, several_sizes)
    parser.add_argument(
        "--images",
        metavar="PATH",
        nargs="+",
        default=[],
        help="images, folders or path,label CSV files to check on; where a folder's images lie in folders that are "
        "called like the classes, accuracy is measured too (default: the run's test images, or noise)",
    )
    parser.add_argument(
        "--max-images",
        type=int,
        default=1000,
        help="check on at most this many images, evenly picked (default: 1000)",
    )
    add_max_pixels(parser)


def add_features(parser):
    """Add the options of the verbs that export features instead of classes."""
    group = parser.add_argument_group("features", "instead of classes; what a model without a classifier gives anyway")
    group.add_argument("--no-top", action="store_true", help="a vector: what the model's classifier reads")
    group.add_argument(
        "--pooling",
        choices=("avg", "max", "token"),
        help="with --no-top: another vector, as the constructors' pooling makes it",
    )
    group.add_argument("--maps", action="store_true", help="the maps of all stages, P2 to P5, or the only stage's")
    group.add_argument(
        "--blocks",
        nargs="+",
        type=_block,
        metavar="BLOCK",
        help="the maps of these blocks, counted from 0 through the whole model, or by their names",
    )


def add_index(parser, shown):
    """Add the option that stores vectors of images beside a model that gives such.

    Args:
        shown: what shows the nearest of them.
    """
    parser.add_argument(
        "--index",
        metavar="EMBEDDINGS",
        help=f"with --no-top: a file of `keras-vit embed`, whose nearest vectors {shown}",
    )


def index_of(arguments, features):
    """The `Embeddings` of --index, or None.

    Raises:
        ValueError: where vectors are not what is asked for, `Features` or None.
    """
    from keras_vit.prediction.embeddings_file import load_embeddings

    if arguments.index and (not features or features.maps or features.blocks):
        raise ValueError("--index is for vectors: add --no-top, or leave it out.")
    return load_embeddings(arguments.index) if arguments.index else None


def require_same_dim(arguments, source, index):
    """Raise a ValueError if the index, `Embeddings` or None, has vectors of another model than the source."""
    if index is None:
        return
    shape, dim = tuple(source.model.outputs[0].shape), index.vectors.shape[1]
    if len(source.features) != 1 or shape != (None, dim):
        raise ValueError(
            f"{arguments.index} has vectors of {dim} numbers, and {source.name} gives {', '.join(source.features)} "
            f"{shape[1:]}. Embed the images with the same model."
        )


def _block(text):
    """A block's number, or its name."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def features_of(arguments):
    """The `Features` that the arguments of `add_features` ask for, or that the model has anyway; None for classes.

    Raises:
        ValueError: for options that exclude each other.
    """
    from keras_vit.export.model.backbone import Features
    from keras_vit.prediction.backbone import has_no_classifier
    from keras_vit.sources.resolve import resolve

    asked = [name for name in ("no_top", "maps", "blocks") if getattr(arguments, name)]
    if len(asked) > 1 or arguments.pooling and asked != ["no_top"]:
        raise ValueError(
            "Expected one of --no-top, --maps and --blocks, and --pooling with --no-top only. Received: "
            f"{', '.join('--' + name.replace('_', '-') for name in asked) or '--pooling alone'}"
            f"{', --pooling' if asked and arguments.pooling else ''}."
        )
    if not asked and not has_no_classifier(resolve(arguments.source)):
        return None
    return Features(arguments.pooling, arguments.maps, tuple(arguments.blocks) if arguments.blocks else None)


def open_exported_model(arguments, img_size=None, features=None):
    """The model that the arguments of `add_exported_model` and `add_sizes` name, an `ExportedModel`.

    Args:
        img_size: (H, W) in pixels; that of the arguments if None.
        features: `Features` to export instead of classes.
    """
    from keras_vit.export.model.backbone import open_backbone
    from keras_vit.export.model.source import open_source
    from keras_vit.export.parity.parity import on_cpu

    on_cpu()
    values, sizes = arguments.input_values, (img_size or arguments.img_size, arguments.crop_pct)
    if features is None:
        return open_source(arguments.source, arguments.preprocessing, arguments.labels, values, *sizes)
    if arguments.labels:
        raise ValueError("--labels names classes, and features have none. Leave it out.")
    return open_backbone(arguments.source, features, arguments.preprocessing, values, *sizes)


def expected_outputs(arguments, source, folder):
    """What the model gives for the images to check on, `parity.Expected`, or of features `ExpectedFeatures`.

    Args:
        folder: where images of noise are written, if there are no others.
    """
    from keras_vit.export.model.source import image_files
    from keras_vit.export.parity.features import expect_features
    from keras_vit.export.parity.parity import expect

    if source.features:
        return expect_features(source, image_files(arguments.images), arguments.max_images, folder)
    images = image_files(arguments.images, source.labels, source.answers.multi_label)
    expected = expect(source, images, arguments.max_images, folder)
    for warning in expected.warnings:
        print(f"WARNING: {source.name}: {warning}", file=sys.stderr)
    return expected


def complete_name(prefix, **_):
    """For tab completion: names of models, and their tags after a dot."""
    from keras_vit.sources.registry import list_models

    return [name for name in list_models(f"{prefix}*", pretrained="." in prefix) if name.startswith(prefix)]


def complete_model(prefix, **_):
    """For tab completion: as `complete_name`, and paths."""
    from argcomplete.completers import FilesCompleter

    return [*complete_name(prefix), *FilesCompleter()(prefix)]
