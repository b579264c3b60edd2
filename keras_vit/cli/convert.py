"""`keras-vit convert`: .tflite files for the edge, checked against the Keras model."""

import argparse
import tempfile

DESCRIPTION = """\
Write OUTPUT/NAME_SIZE_fp32.tflite and OUTPUT/NAME_SIZE_dynamic_int8.tflite with labels.txt, preprocessing.json and
report.json. Each file takes one picture, float32 in [0, 255], already of the model's size, and gives probabilities;
it has builtin operators and fixed shapes only. Each is run in a process without Keras and compared with the Keras
model: float files by the largest difference of probabilities, quantised ones by agreement. If one fails, none is kept.
"""


def main(argv=None):
    """Convert what the arguments say; 0, or an error."""
    from keras_vit.export.converter import QUANTISATIONS
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
        default=list(QUANTISATIONS),
        help="none: float32; dynamic_int8: int8 weights, a quarter of the size (default: both)",
    )
    arguments = parser.parse_args(argv)
    if arguments.format != "tflite":
        return _exchange(arguments)

    from keras_vit.export.parity import describe, expect, on_cpu
    from keras_vit.export.source import open_source, picture_files
    from keras_vit.export.tflite import convert

    on_cpu()
    source = open_source(arguments.source, arguments.preprocessing, arguments.labels)
    with tempfile.TemporaryDirectory() as folder:
        expected = expect(source, picture_files(arguments.images), arguments.max_images, folder)
        report = convert(source, arguments.output, arguments.quant, expected)
    for file in report["files"]:
        count = sum(file["operators"].values())
        print(f"{arguments.output}/{file['file']}  {file['size_bytes'] / 1e6:.2f} MB")
        print(f"  {describe(file)}")
        print(f"  {count} operators, all builtin; tensors of rank {file['max_rank']} at most")
    return 0


def _exchange(arguments):
    """Write the model as ONNX or OpenVINO; 0."""
    from keras_vit.export import exchange
    from keras_vit.export.parity import describe, expect, on_cpu
    from keras_vit.export.source import open_source, picture_files

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
