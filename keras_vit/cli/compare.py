"""`keras-vit compare`: a model and its artifacts side by side."""

import argparse
import tempfile

DESCRIPTION = """\
Print a table of the Keras model, its SavedModel and its .tflite files: accuracy on the held-out pictures, agreement
with the Keras model, size, and the median time for one picture of the model's size, after a warm-up, on all cores.
"""


def main(argv=None):
    """Compare what the arguments say; 0, or an error."""
    from keras_vit.export.source import add_arguments

    parser = argparse.ArgumentParser(
        "keras-vit compare",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.add_argument(
        "artifacts",
        metavar="ARTIFACT",
        nargs="+",
        help="a serving bundle, a SavedModel, a .tflite file or a folder of them",
    )
    parser.add_argument("--csv", metavar="FILE", help="write the table here as well")
    arguments = parser.parse_args(argv)

    from keras_vit.export.compare import as_table, compare, find_artifacts, write_csv
    from keras_vit.export.parity import cores, expect, on_cpu
    from keras_vit.export.source import open_source, picture_files

    on_cpu()
    source = open_source(arguments.source, arguments.preprocessing, arguments.labels)
    artifacts = find_artifacts(arguments.artifacts, source.name)
    with tempfile.TemporaryDirectory() as folder:
        expected = expect(source, picture_files(arguments.images), arguments.max_images, folder)
        rows = compare(source, artifacts, expected)
    print(f"{source.name}: {len(expected.files)} {expected.kind} pictures; one picture at a time, threads: {cores()}")
    print(as_table(rows))
    if arguments.csv:
        write_csv(rows, arguments.csv)
    return 0
