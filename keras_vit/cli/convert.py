"""`keras-vit convert`: .tflite files for the edge, checked against the Keras model."""

import argparse
import tempfile
from pathlib import Path

DESCRIPTION = """\
Write a folder for an app: NAME_SIZE_QUANTISATION.tflite with labels.txt, preprocessing.json, example.py, README.md
and report.json. Each file takes one picture with values in [0, 255], already of the model's size, and gives
probabilities; it has builtin operators and fixed shapes only. The quantisations:

  none          float32
  float16       weights in float16, half the size
  dynamic_int8  weights in int8, a quarter of the size; float32 in and out
  int8          activations of dense layers and convolutions in int8 too; uint8 in and, where it does no harm, out
  int16x8       activations in int16, weights in int8, for accelerators; CPUs are slower with it than with float32

int8 and int16x8 need pictures to measure ranges on: --calibration, or a run's own training pictures. Each file is run
in a process without Keras and compared with the Keras model, on the run's held-out pictures, --images, or noise. Layers
that lose most stay float until the file loses no more than --max-loss; if that does not help, no file is written.
"""


def main(argv=None):
    """Convert what the arguments say; 0, or an error."""
    arguments = _parser().parse_args(argv)
    if arguments.format != "tflite":
        return _exchange(arguments)

    from keras_vit.export.edge_report import as_table
    from keras_vit.export.parity import expect, on_cpu
    from keras_vit.export.quantise import DEFAULT
    from keras_vit.export.source import open_source, picture_files
    from keras_vit.export.tflite import convert

    on_cpu()
    arguments.quant = arguments.quant or DEFAULT
    source = open_source(arguments.source, arguments.preprocessing, arguments.labels)
    calibrated = _calibration(arguments, source)
    with tempfile.TemporaryDirectory() as folder:
        expected = expect(source, picture_files(arguments.images), arguments.max_images, folder)
        report = convert(
            source, arguments.output, arguments.quant, expected, calibrated, arguments.max_loss, arguments.force
        )
    print(as_table(report))
    print(f"Written to {arguments.output}; report.json has all figures.")
    return 0


def _parser():
    from keras_vit.export.budget import MAX_LOSS
    from keras_vit.export.quantise import DEFAULT, QUANTISATIONS
    from keras_vit.export.source import add_arguments

    parser = argparse.ArgumentParser(
        "keras-vit convert",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the files of this model")
    parser.add_argument(
        "--format",
        choices=("tflite", "onnx", "openvino"),
        default="tflite",
        help="onnx and openvino: float32 files for any number of pictures, by Keras' own exporters (default: tflite)",
    )
    parser.add_argument(
        "--quant",
        nargs="+",
        choices=QUANTISATIONS,
        help=f"(default: {' '.join(DEFAULT)})",
    )
    parser.add_argument(
        "--calibration",
        metavar="PATH",
        nargs="+",
        default=[],
        help="pictures or folders to measure ranges on, at most 200 are taken (default: a run's training pictures)",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        default=MAX_LOSS,
        metavar="POINTS",
        help=f"accuracy that a quantised file may lose against the Keras model (default: {MAX_LOSS})",
    )
    parser.add_argument("--force", action="store_true", help="write files that lose more all the same")
    return parser


def _calibration(arguments, source):
    """The pictures that were given, else a run's own, else None, for noise; none where nothing is measured on them."""
    from keras_vit.export import calibration
    from keras_vit.export.quantise import STATIC
    from keras_vit.export.source import picture_files

    if arguments.calibration:
        files = [path for path, _ in picture_files(arguments.calibration)]
        return calibration.from_files(files, source.spec)
    if not set(arguments.quant) & set(STATIC) or not (Path(arguments.source) / "args.yaml").is_file():
        return None
    from keras_vit.training.recall import training_part

    try:
        part = training_part(arguments.source)
    except ValueError as error:
        raise ValueError(f"{error} Name pictures for measuring ranges with --calibration.") from error
    return calibration.from_pictures(part.names, part.read, source.spec, "training")


def _exchange(arguments):
    """Write the model as ONNX or OpenVINO; 0."""
    from keras_vit.export import exchange
    from keras_vit.export.parity import describe, expect, on_cpu
    from keras_vit.export.source import open_source, picture_files

    if arguments.quant or arguments.calibration or arguments.force:
        raise ValueError(f"--quant, --calibration and --force are for --format tflite. Received: {arguments.format}.")
    exchange.check_packages(arguments.format)
    on_cpu()
    source = open_source(arguments.source, arguments.preprocessing, arguments.labels)
    with tempfile.TemporaryDirectory() as folder:
        expected = expect(source, picture_files(arguments.images), arguments.max_images, folder)
        report = exchange.convert(source, arguments.output, arguments.format, expected)
    for file, size in report["files"].items():
        print(f"{arguments.output}/{file}  {size / 1e6:.2f} MB")
    print(f"  {describe(report)}")
    return 0
