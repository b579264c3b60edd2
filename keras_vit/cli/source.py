"""The arguments of every verb that predicts: which model, how pictures are prepared for it, what its classes are."""


def add_arguments(parser):
    """Add the arguments to a parser of argparse."""
    parser.add_argument(
        "source",
        metavar="MODEL",
        help="a run folder, a .keras file, a SavedModel, a .tflite file, or a model's name",
    )
    add_options(parser)


def add_options(parser):
    """Add those that are no position."""
    parser.add_argument(
        "--preprocessing",
        metavar="FILE|NAME",
        help="preprocessing.json, a run folder or a model's name; for sources that lack it",
    )
    parser.add_argument("--labels", metavar="FILE", help="the classes' names, one per line")


def open_source(arguments):
    """The `Predictor` that the parsed arguments mean."""
    from keras_vit.predictor import open_predictor

    return open_predictor(arguments.source, arguments.preprocessing, arguments.labels)
