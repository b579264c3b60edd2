"""`keras-vit export`: a SavedModel for TF Serving, checked against the Keras model."""

import argparse
import tempfile

DESCRIPTION = """\
Write OUTPUT/models/NAME/VERSION/, a SavedModel for TF Serving with two signatures:

  serving_default  image_bytes (JPEG, PNG, BMP, GIF) -> classes, scores, class_ids: the best k, best first;
                   a picture that cannot be decoded gets classes "", scores 0 and class_ids -1
  predict_images   images, float32 in [0, 255], of the model's size -> probabilities

It is loaded again in a process without Keras and compared with the Keras model; above the tolerance nothing is kept.
"""


def main(argv=None):
    """Export what the arguments say; 0, or an error."""
    from keras_vit.export.source import add_arguments

    parser = argparse.ArgumentParser(
        "keras-vit export",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.add_argument("--output", metavar="DIR", required=True, help="folder of the serving bundle")
    parser.add_argument("--name", help="what the server calls the model (default: the run's or the model's name)")
    parser.add_argument("--top-k", type=int, default=5, help="classes in an answer (default: 5)")
    arguments = parser.parse_args(argv)

    from keras_vit.export.parity import describe, expect, on_cpu
    from keras_vit.export.saved_model import export
    from keras_vit.export.source import open_source, picture_files

    on_cpu()
    source = open_source(arguments.source, arguments.preprocessing, arguments.labels)
    with tempfile.TemporaryDirectory() as folder:
        expected = expect(source, picture_files(arguments.images), arguments.max_images, folder)
        path, report, _ = export(source, arguments.output, arguments.name, arguments.top_k, expected)
    print(f"{path}\n  {describe(report)}")
    return 0
