"""`keras-vit serve`: a page to try models on, and the answers of model servers, for development or without Docker."""

import logging
import os

from keras_vit.cli.arguments import verb_parser
from keras_vit.system import startup
from keras_vit.system.files import refuse_pattern
from keras_vit.system.limits import GRACE_SECONDS, READ_SECONDS

DESCRIPTION = """\
Serve the folder that `keras-vit export` writes: a page to try its models on, the REST interface of TF Serving, the
Open Inference Protocol (v2) of KServe and Triton, and with --grpc-port the gRPC forms of both.

  GET  /                                                       the page: an image's labels, or of a model that gives
                                                               features the nearest stored images; and where it looked
  POST /v1/models/NAME[/versions/N | /labels/LABEL]:predict    {"instances": [{"b64": "..."}]}
  GET  /v1/models/NAME                                         which versions are served
  GET  /v1/models/NAME/metadata                                their signatures
  POST /v2/models/NAME[/versions/N]/infer                      tensors, as JSON or behind it
  GET  /v2  /v2/health/ready  /v2/models/NAME[/ready]          the server, and a model's inputs and outputs
  gRPC PredictionService/Predict and /GetModelMetadata, ModelService/GetModelStatus, GRPCInferenceService

New versions in the folder are taken up as they appear. Requests that come together are answered as one batch, as
batching.config says. For development: it knows no users, and TF Serving itself is faster.
"""


def parser():
    """The options of `keras-vit serve`."""
    parser = verb_parser("serve", DESCRIPTION)
    parser.add_argument("bundle", metavar="BUNDLE", help="the folder that `keras-vit export` writes")
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="of a model with stored vectors (`keras-vit export --index`): the folder of their images, which the page "
        "then shows, small; it names them otherwise",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8501, help="port to listen on (default: %(default)s)")
    parser.add_argument("--grpc-port", type=int, help="answer gRPC on this port, too; TF Serving's is 8500")
    parser.add_argument(
        "--max-request-mb", type=float, default=32, help="largest request, in megabytes (default: %(default)s)"
    )
    parser.add_argument(
        "--poll-seconds", type=float, default=1, help="between two looks for new versions (default: %(default)s)"
    )
    parser.add_argument(
        "--read-seconds",
        type=seconds,
        default=READ_SECONDS,
        help="a request that is not complete after these is answered 408, unless it goes on (default: %(default)s)",
    )
    parser.add_argument(
        "--grace-seconds",
        type=seconds,
        default=GRACE_SECONDS,
        help="for requests that are not answered, after SIGTERM or Ctrl-C (default: %(default)s)",
    )
    return parser


def seconds(text):
    """A number of seconds above 0, at most a day."""
    seconds = float(text)
    if not 0 < seconds <= 86400:
        raise ValueError(text)
    return seconds


def main(argv=None):
    """Serve until interrupted."""
    arguments = parser().parse_args(argv)
    refuse_pattern(arguments.bundle)
    if arguments.images and not os.path.isdir(arguments.images):
        raise ValueError(f"--images: expected a folder. Received: {arguments.images}.")
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    startup.start_tensorflow()
    from keras_vit.export.devserver.app import MEGABYTE, Patience, serve

    def ready(url, models, grpc_address):
        print(f"{url}/  a page to try them on")
        if grpc_address:
            print(f"{grpc_address}  gRPC")
        for model, version in models:
            print(f"{url}/v1/models/{model}  version {version}", flush=True)
        print("Ctrl-C ends.", flush=True)

    size = round(arguments.max_request_mb * MEGABYTE)
    patience = Patience(arguments.read_seconds, arguments.grace_seconds)
    where = (arguments.bundle, arguments.host, arguments.port)
    serve(*where, size, arguments.poll_seconds, ready, patience, arguments.grpc_port, arguments.images)
    return 0
