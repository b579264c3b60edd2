"""`keras-vit convert`: .tflite files for the edge and for a page, checked against the Keras model."""

from pathlib import Path

from keras_vit.cli.arguments import (
    add_exported_model,
    add_features,
    add_index,
    expected_outputs,
    features_of,
    index_of,
    local_output,
    open_exported_model,
    require_same_dim,
    verb_parser,
)
from keras_vit.system import startup
from keras_vit.system.files import scratch_folder

DESCRIPTION = """\
Write a folder for an app: NAME_SIZE_QUANTIZATION.tflite with labels.txt, preprocessing.json, example.py, README.md
and report.json. Each file takes one image with values in [0, 255], already of the model's size, and gives
probabilities; it has builtin operators and fixed shapes only. The quantizations:

  none          float32
  float16       weights in float16, half the size
  dynamic_int8  weights in int8, a quarter of the size; float32 in and out
  int8          activations of dense layers and convolutions in int8 too; uint8 in and, where it does no harm, out
  int16x8       activations in int16, weights in int8, for accelerators; CPUs are slower with it than with float32

--img-size with several sizes writes files for each, in one folder:

    keras-vit convert runs/photos --img-size 192 224 --quant float16 --output edge

--target gpu writes none and float16 for LiteRT's GPU delegate: it takes every operator, variances fit into float16,
and each file is emulated in float16 on the CPU. Operators that would not fit are named, and nothing is written.

int8 and int16x8 need images to measure ranges on: --calibration, or a run's own training images. The weights of int8
and dynamic_int8 are fitted to them. Each file is run in a process without Keras and compared with the Keras model, on
the run's test images, --images, or noise. Layers that lose most stay float until the file loses no more than
--max-loss; if that does not help, no file is written.

Features instead of classes, for search and as the input of other models:

    keras-vit convert DINOv2S --quant float16 int8 --calibration album/ --output edge
    keras-vit convert runs/photos --no-top --index album.npz --output edge
    keras-vit convert SwinT --maps --output edge

They are compared by their cosine with the Keras model's.

--format web writes one such file and a page that classifies images in the browser, for any server of static files:

    keras-vit convert runs/photos --format web --litert-js node_modules/@litertjs/core --output page
    python3 -m http.server -d page
"""
PAGE_WITH_CDN = """\
The page loads LiteRT.js {version} from {cdn}, so it needs the internet. To have it in the folder:
`npm install @litertjs/core@{version}`, and convert again with --litert-js node_modules/@litertjs/core."""
PAGE_ALONE = "The page needs nothing from elsewhere: LiteRT.js {version} is in the folder."


def parser():
    """The options of `keras-vit convert`."""
    from keras_vit.export.edge.quantizations import DEFAULT, MAX_LOSS, QUANTIZATIONS, WEB

    parser = verb_parser("convert", DESCRIPTION)
    add_exported_model(parser, several_sizes=True)
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the files of this model")
    parser.add_argument(
        "--format",
        choices=("tflite", "web", "onnx", "openvino"),
        default="tflite",
        help="web: one .tflite file and a page that runs it; onnx and openvino: float32 files for any number of "
        "images, by Keras' own exporters (default: tflite)",
    )
    parser.add_argument(
        "--target",
        choices=("cpu", "gpu"),
        default="cpu",
        help="what .tflite files are made for (default: cpu, which GPU delegates may take in parts)",
    )
    parser.add_argument(
        "--quant",
        nargs="+",
        choices=QUANTIZATIONS,
        help=f"(default: {' '.join(DEFAULT)}; for GPUs: none float16; of a page, one of {', '.join(WEB)}: {WEB[0]})",
    )
    parser.add_argument(
        "--calibration",
        metavar="PATH",
        nargs="+",
        default=[],
        help="images or folders to measure ranges on, at most 200 are taken (default: a run's training images)",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        metavar="POINTS",
        help=f"accuracy that a quantized file may lose against the Keras model (default: {MAX_LOSS})",
    )
    parser.add_argument("--force", action="store_true", help="write files that lose more all the same")
    add_features(parser)
    add_index(parser, "example.py prints")
    parser.add_argument(
        "--litert-js",
        metavar="DIR",
        help="for --format web: the npm package @litertjs/core, to be copied beside the page (default: the page loads "
        "it from a CDN)",
    )
    return parser


def main(argv=None):
    """Convert what the arguments say; 0, or an error."""
    arguments = parser().parse_args(argv)
    with local_output(arguments):
        return _convert(arguments)


def _convert(arguments):
    _check(arguments)

    startup.start_tensorflow()
    if arguments.format in ("onnx", "openvino"):
        from keras_vit.export.interchange import onnx_openvino

        onnx_openvino.check_packages(arguments.format)
    features = features_of(arguments)
    _check_features(arguments, features)
    if arguments.format == "tflite":
        return _tflite(arguments, features)
    return _web(arguments) if arguments.format == "web" else _onnx_openvino(arguments, features)


def _check(arguments):
    """Refuse options that the format does not have."""
    from keras_vit.export.edge.quantizations import WEB

    format, files = arguments.format, arguments.format in ("tflite", "web")
    if not files and (arguments.quant or arguments.calibration or arguments.force):
        raise ValueError(f"--quant, --calibration and --force are for --format tflite and web. Received: {format}.")
    if format != "tflite" and arguments.target != "cpu":
        raise ValueError(f"--target gpu is for --format tflite. Received: {format}.")
    if format != "tflite" and len(arguments.img_size or ()) > 1:
        raise ValueError(f"Several sizes of --img-size are for --format tflite. Received: {format}.")
    if format == "web" and arguments.quant and (len(arguments.quant) > 1 or arguments.quant[0] not in WEB):
        raise ValueError(
            f"A page has one file, of one --quant {', '.join(WEB)}. Received: {' '.join(arguments.quant)}."
        )
    if format != "web" and arguments.litert_js:
        raise ValueError(f"--litert-js is for --format web. Received: {format}.")


def _check_features(arguments, features):
    """Raise a ValueError for options that are not for features, or only for them; sets the default of --max-loss."""
    from keras_vit.export.edge.quantizations import MAX_LOSS

    if features and arguments.format == "web":
        raise ValueError("A page shows classes; features are for --format tflite, onnx and openvino. Received: web.")
    if arguments.index and arguments.format != "tflite":
        raise ValueError(f"--index is for --format tflite. Received: {arguments.format}.")
    if features and arguments.max_loss is not None:
        raise ValueError("--max-loss is in points of accuracy, which features do not have. Leave it out.")
    arguments.max_loss = MAX_LOSS if arguments.max_loss is None else arguments.max_loss


def _tflite(arguments, features):
    from keras_vit.export.edge.quantizations import DEFAULT
    from keras_vit.export.edge.report import as_table
    from keras_vit.export.edge.target import OF_GPUS, check_quantizations
    from keras_vit.export.edge.tflite import convert_sizes

    arguments.quant = arguments.quant or (OF_GPUS if arguments.target == "gpu" else DEFAULT)
    check_quantizations(arguments.target, arguments.quant)
    index = index_of(arguments, features)
    with scratch_folder() as folder:
        wanted = _wanted(arguments, Path(folder), features, index)
        options = {"max_loss": arguments.max_loss, "force": arguments.force, "target": arguments.target, "index": index}
        report = convert_sizes(wanted, arguments.output, arguments.quant, **options)
    print(as_table(report))
    print(f"Written to {arguments.output}; report.json has all figures.")
    return 0


def _web(arguments):
    from keras_vit.export.edge.quantizations import WEB
    from keras_vit.export.edge.report import as_table
    from keras_vit.export.web import bundle, runtime

    arguments.quant = arguments.quant or [WEB[0]]
    if arguments.litert_js:
        runtime.from_folder(arguments.litert_js)  # refused before the model is loaded
    with scratch_folder() as folder:
        [(source, expected, calibrated)] = _wanted(arguments, Path(folder))
        given = expected, calibrated, arguments.max_loss, arguments.force
        report = bundle.convert(source, arguments.output, *arguments.quant, arguments.litert_js, *given)
    print(as_table(report))
    said = PAGE_ALONE if arguments.litert_js else PAGE_WITH_CDN
    print(said.format(version=report["litert_js"]["version"], cdn=runtime.CDN))
    print(f"Written to {arguments.output}; look at it with: python3 -m http.server -d {arguments.output}")
    return 0


def _wanted(arguments, folder, features=None, index=None):
    """The model, what it gives, and images for measuring ranges, at each size in turn."""
    for number, size in enumerate(dict.fromkeys(arguments.img_size or [None])):
        source = open_exported_model(arguments, size, features)
        require_same_dim(arguments, source, index)
        calibrated = calibration_of(arguments, source)
        noise = folder / str(number)
        noise.mkdir()
        yield source, expected_outputs(arguments, source, noise), calibrated


def calibration_of(arguments, source):
    """The images that were given, else a run's own, else None, for noise; none where nothing is measured on them.

    dynamic_int8 is better with images and can do without: it takes a run's own if they are still there.
    """
    from keras_vit.export.edge import calibration
    from keras_vit.export.edge.quantizations import FITTED, STATIC
    from keras_vit.export.model.source import image_files
    from keras_vit.sources.run_folder import SETTINGS

    if arguments.calibration:
        files = [path for path, _ in image_files(arguments.calibration)]
        return calibration.from_files(files, source.spec)
    if not set(arguments.quant) & {*STATIC, *FITTED} or not (Path(arguments.source) / SETTINGS).is_file():
        return None
    from keras_vit.training.recall import training_split

    try:
        split = training_split(arguments.source)
    except ValueError as error:
        if set(arguments.quant) & set(STATIC):
            raise ValueError(f"{error} Name images for measuring ranges with --calibration.") from error
        return None
    return calibration.from_images(split.names, split.read, source.spec, "training")


def _onnx_openvino(arguments, features):
    from keras_vit.export.interchange import onnx_openvino
    from keras_vit.export.parity.parity import describe

    [size] = arguments.img_size or [None]
    source = open_exported_model(arguments, size, features)
    with scratch_folder() as folder:
        expected = expected_outputs(arguments, source, folder)
        report = onnx_openvino.convert(source, arguments.output, arguments.format, expected)
    for file, size in report["files"].items():
        print(f"{arguments.output}/{file}  {size / 1e6:.2f} MB")
    print(f"  {describe(report)}")
    return 0
