"""`keras-vit export`: a folder that a model server starts from, or that timm or transformers load."""

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
from keras_vit.sources.library_folder import LIBRARIES
from keras_vit.system import startup
from keras_vit.system.files import refuse_pattern, scratch_folder

DESCRIPTION = """\
Write a version of a model into OUTPUT, the folder of a model server, which is made or added to:

  models/NAME/VERSION/   a SavedModel with labels, preprocessing and warm-up requests; its signatures are
    serving_default      image_bytes (JPEG, PNG, WebP, plain BMP, GIF) -> classes, scores, class_ids: the best k,
                         best first; an image that cannot be decoded gets classes "", scores 0 and class_ids -1.
                         Of several labels per image, those that it has; places left over are filled like these, and
                         decoded tells both apart. Also known_score and unknown, if the run has such a score
    predict_images       images, float32 in [0, 255], of the model's size -> probabilities
    features             image_bytes -> embedding, what the classifier reads
    features_of_images   images of any size -> embedding, and
    maps_of_images       images of any size -> P2 to P5, the stages' maps: of a model of any size, or with --any-size
  models.config batching.config monitoring.config docker-compose.yml kubernetes.yaml client.py README.md report.json
  examples/ expected/    images, and the answers that `client.py --check` wants for them

A model without its classifier is served too; what it gives is checked by largest difference and cosine:

    keras-vit export SwinT --no-top --pooling avg --output serving
    keras-vit export DINOv2S --index album.npz --output serving    the page shows the nearest images of the album
    keras-vit export SwinT --maps --output serving

    serving_default      image_bytes -> embedding, or P2 to P5, map, block5_map, ..., and decoded: false, with zeros,
                         for an image that cannot be decoded
    predict_images       images -> the same, without decoded
    features_of_images   the same of images of any size, of a model of any size, or with --any-size

The SavedModel is loaded again in a process without Keras and compared with the Keras model; above the tolerance, or if
TF Serving lacks one of its operators, nothing is kept. Several models and versions may share a folder.

--target triton, ovms and kserve write model repositories of other servers, in ONNX, with a README, a client that
decodes and prepares images, and

  triton  models/NAME/config.pbtxt: dynamic batching, warm-up, labels   (NVIDIA Triton; needs keras-vit-models[onnx])
  ovms    config.json                                   (OpenVINO Model Server; needs keras-vit-models[onnx,openvino])
  kserve  inference_service.yaml, for --runtime triton, ovms or tfserving, and the folder of that server

--format timm and --format transformers write OUTPUT, which must not exist, as a folder of that library, with the
weights, labels and preprocessing: timm.create_model("local-dir:OUTPUT", pretrained=True), and
AutoModelForImageClassification.from_pretrained("OUTPUT"). It is read back, and must give every weight to the bit.
"""


def parser():
    """The options of `keras-vit export`."""
    parser = verb_parser("export", DESCRIPTION)
    add_exported_model(parser)
    parser.add_argument("--output", metavar="DIR", required=True, help="the server's folder, or the library's")
    parser.add_argument(
        "--format",
        choices=("serving", *LIBRARIES),
        default="serving",
        help="serving: for TF Serving; timm, transformers: a folder that the library loads (default: serving)",
    )
    parser.add_argument("--name", help="what the server calls the model (default: the run's or the model's name)")
    parser.add_argument(
        "--top-k", type=int, help="classes in an answer, at most (default: 5; of several labels per image, all)"
    )
    parser.add_argument(
        "--any-size",
        action="store_true",
        help="make signatures for features and maps of images of any size, of a model of one size too",
    )
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
        help="how many of the images it is checked on are stored for client.py --check (default: 4)",
    )
    parser.add_argument(
        "--target",
        choices=("tfserving", "triton", "ovms", "kserve"),
        default="tfserving",
        help="the server that the folder is for (default: tfserving)",
    )
    parser.add_argument(
        "--runtime", choices=("triton", "ovms", "tfserving"), help="for --target kserve: what runs it (default: triton)"
    )
    parser.add_argument(
        "--storage-uri",
        metavar="URI",
        help="for --target kserve: where models/ will be, e.g. s3://bucket/models (default: a placeholder)",
    )
    add_features(parser)
    add_index(parser, "the page of `keras-vit serve` shows")
    return parser


def main(argv=None):
    """Export what the arguments say; 0, or an error."""
    arguments = parser().parse_args(argv)
    with local_output(arguments):
        return _export(arguments)


def _export(arguments):
    refuse_pattern(arguments.output)
    for_serving = arguments.name or arguments.label or arguments.batch_sizes or arguments.any_size
    if arguments.format != "serving" and for_serving:
        raise ValueError(
            f"--any-size, --name, --label and --batch-sizes are for --format serving. Received: {arguments.format}."
        )
    _check_target(arguments)

    startup.start_tensorflow()
    features = features_of(arguments)
    if features and arguments.format != "serving":
        raise ValueError(
            f"Features are exported by --format serving, and by `keras-vit convert`. Received: {arguments.format}; "
            "keras_vit.save_weights writes a backbone's weights under another library's names."
        )
    index = index_of(arguments, features)
    if arguments.format != "serving":
        return _library(arguments)
    of_tensorflow = "tfserving" in (arguments.target, arguments.runtime)
    return (_serving if of_tensorflow else _repository)(arguments, features, index)


def _check_target(arguments):
    """Refuse options that the target does not have."""
    target, onnx = arguments.target, "tfserving" not in (arguments.target, arguments.runtime)
    if target != "tfserving" and arguments.format != "serving":
        raise ValueError(f"--target is for --format serving. Received: {arguments.format}.")
    if target != "kserve" and (arguments.runtime or arguments.storage_uri):
        raise ValueError(f"--runtime and --storage-uri are for --target kserve. Received: {target}.")
    given = [name for name in ("label", "top_k", "any_size") if getattr(arguments, name)]
    if onnx and given:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(f"{options}: for TF Serving only; {target} gives all outputs of images of one size.")


def _library(arguments):
    from keras_vit.export.interchange import library_folder

    asked, arguments.img_size = arguments.img_size, None
    source = open_exported_model(arguments)
    source = library_folder.at_size(source, asked) if asked else source
    for name, size in library_folder.write(source, arguments.format, arguments.output).items():
        print(f"{arguments.output}/{name}  {size / 1e6:.2f} MB")
    load = {"timm": 'timm.create_model("local-dir:{}", pretrained=True)'}
    load["transformers"] = 'transformers.AutoModelForImageClassification.from_pretrained("{}")'
    print(f"  {load[arguments.format].format(arguments.output)}")
    return 0


def _repository(arguments, features, index):
    from keras_vit.export.parity.parity import describe
    from keras_vit.export.servers import repository

    repository.refuse_other_target(arguments.output, arguments.target)
    repository.check_packages(arguments.target, arguments.runtime or arguments.target)
    source = open_exported_model(arguments, features=features)
    require_same_dim(arguments, source, index)
    names = ("name", "batch_sizes", "examples", "runtime", "storage_uri")
    with scratch_folder() as folder:
        expected = expected_outputs(arguments, source, folder)
        options = {name: getattr(arguments, name) for name in names}
        path, report = repository.export(source, arguments.output, arguments.target, expected, index=index, **options)
    print(f"{path}\n  {describe(report)}\n  start it as {arguments.output}/README.md says")
    return 0


def _serving(arguments, features, index):
    from keras_vit.export.model.source import of_any_size
    from keras_vit.export.parity.parity import describe
    from keras_vit.export.servers import repository
    from keras_vit.export.serving import bundle

    repository.refuse_other_target(arguments.output, "tfserving")
    source = open_exported_model(arguments, features=features)
    require_same_dim(arguments, source, index)
    source = of_any_size(source) if arguments.any_size else source
    with scratch_folder() as folder:
        expected = expected_outputs(arguments, source, folder)
        path, report = bundle.export(
            source,
            arguments.output,
            expected,
            name=arguments.name,
            top_k=arguments.top_k,
            batch_sizes=arguments.batch_sizes,
            label=arguments.label,
            examples=arguments.examples,
            index=index,
        )
    print(f"{path}\n  {describe(report)}")
    if arguments.target == "kserve":
        repository.write_manifest(arguments.output, report["model"], arguments.storage_uri)
    if not features and "features" not in report["signatures"]:
        print("  no features signature: the classifier is not a Dense layer")
    print(f"  serve it as {arguments.output}/README.md says, or with: keras-vit serve {arguments.output}")
    return 0
