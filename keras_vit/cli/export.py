"""`keras-vit export`: a folder that TF Serving starts from, checked against the Keras model."""

import argparse
import tempfile

DESCRIPTION = """\
Write a version of a model into OUTPUT, the folder of a model server, which is made or added to:

  models/NAME/VERSION/   a SavedModel with labels, preprocessing and warm-up requests; its signatures are
    serving_default      image_bytes (JPEG, PNG, BMP, GIF) -> classes, scores, class_ids: the best k, best first;
                         a picture that cannot be decoded gets classes "", scores 0 and class_ids -1
    predict_images       images, float32 in [0, 255], of the model's size -> probabilities
    features             image_bytes -> embedding, what the classifier reads
  models.config batching.config monitoring.config docker-compose.yml kubernetes.yaml client.py README.md report.json
  examples/ expected/    pictures, and the answers that `client.py --check` wants for them

The SavedModel is loaded again in a process without Keras and compared with the Keras model; above the tolerance, or if
TF Serving lacks one of its operators, nothing is kept. Several models and versions may share a folder.
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
    parser.add_argument("--output", metavar="DIR", required=True, help="the server's folder")
    parser.add_argument("--name", help="what the server calls the model (default: the run's or the model's name)")
    parser.add_argument("--top-k", type=int, default=5, help="classes in an answer (default: 5)")
    parser.add_argument("--label", help="a name for this version, e.g. canary; all versions then stay loaded")
    parser.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        metavar="N",
        help="that waiting requests may be batched to, ascending (default: the folder's, else 1 2 4 8 16 32)",
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=4,
        help="how many of the pictures it is checked on are stored for client.py --check (default: 4)",
    )
    arguments = parser.parse_args(argv)

    from keras_vit.export import bundle
    from keras_vit.export.parity import describe, expect, on_cpu
    from keras_vit.export.source import open_source, picture_files

    on_cpu()
    source = open_source(arguments.source, arguments.preprocessing, arguments.labels)
    with tempfile.TemporaryDirectory() as folder:
        expected = expect(source, picture_files(arguments.images), arguments.max_images, folder)
        path, report = bundle.export(
            source,
            arguments.output,
            expected,
            name=arguments.name,
            top_k=arguments.top_k,
            batch_sizes=arguments.batch_sizes,
            label=arguments.label,
            examples=arguments.examples,
        )
    print(f"{path}\n  {describe(report)}")
    if "features" not in report["signatures"]:
        print("  no features signature: the classifier is not a Dense layer")
    print(f"  serve it as {arguments.output}/README.md says, or with: keras-vit serve {arguments.output}")
    return 0
