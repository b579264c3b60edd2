"""`keras-vit compare`: a model and its artifacts side by side."""

from keras_vit.cli.arguments import (
    add_exported_model,
    add_features,
    expected_outputs,
    features_of,
    open_exported_model,
    verb_parser,
)
from keras_vit.system import startup
from keras_vit.system.files import scratch_folder

DESCRIPTION = """\
Print a table of the Keras model, its SavedModel and its .tflite files: accuracy on the run's test images, agreement
with the Keras model, size, and the median time for one image of the model's size, after a warm-up, on all cores.
Of a folder with .tflite files of several sizes, those of the model's are taken, or of --img-size. Artifacts that give
features are compared by their cosine with the Keras model's; say which features, as they were made:

    keras-vit compare DINOv2S serving edge --images album/
    keras-vit compare runs/photos edge --no-top
"""


def parser():
    """The options of `keras-vit compare`."""
    parser = verb_parser("compare", DESCRIPTION)
    add_exported_model(parser)
    parser.add_argument(
        "artifacts",
        metavar="ARTIFACT",
        nargs="+",
        help="a serving bundle, a SavedModel, a .tflite file or a folder of them",
    )
    add_features(parser)
    parser.add_argument("--csv", metavar="FILE", help="write the table here as well")
    return parser


def main(argv=None):
    """Compare what the arguments say; 0, or an error."""
    arguments = parser().parse_args(argv)

    startup.start_tensorflow()
    from keras_vit.export.parity.compare import as_table, compare, find_artifacts, write_csv
    from keras_vit.export.parity.parity import cores

    source = open_exported_model(arguments, features=features_of(arguments))
    artifacts = find_artifacts(arguments.artifacts, source.name, source.spec.size)
    with scratch_folder() as folder:
        expected = expected_outputs(arguments, source, folder)
        rows = compare(source, artifacts, expected)
    print(f"{source.name}: {len(expected.files)} {expected.kind} images; one image at a time, threads: {cores()}")
    print(as_table(rows))
    if arguments.csv:
        write_csv(rows, arguments.csv)
    return 0
