"""A model server for development: TF Serving's interfaces and the Open Inference Protocol, without a container.

`connections` reads requests, `rest` and `open_inference` parse them, `engine` runs them within limits, `batching`
batches those that arrive at the same time, `servables` loads new versions while the server runs, and `page` is the page
to try a model on. `grpc_server` answers gRPC beside HTTP, by `prediction_service` and `inference_service`. Memory is
bounded: by the size of a request's body, and by the size of all bodies in flight; a request beyond that is rejected at
once.
"""

import asyncio
import contextlib
import functools
import logging
import re
import socket
import threading
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from keras_vit.export.devserver import memory, open_inference, rest
from keras_vit.export.devserver.engine import MEGABYTE, Engine
from keras_vit.export.devserver.page import Page, file_routes
from keras_vit.export.devserver.servables import Servables
from keras_vit.system.limits import GRACE_SECONDS, READ_SECONDS

LOG = logging.getLogger(__name__)
BACKLOG = 2048  # connections that wait to be accepted, as uvicorn has it


@dataclass(frozen=True)
class Patience:
    """How long the server waits for clients, in seconds."""

    read: float = READ_SECONDS  # for the rest of a request, see `connections`
    grace: float = GRACE_SECONDS  # for requests that are not answered when it is to end


def serve(
    bundle,
    host="127.0.0.1",
    port=8501,
    max_request=32 * MEGABYTE,
    poll=1.0,
    ready=lambda url, models, grpc_address: None,
    patience=Patience(),
    grpc_port=None,
    images=None,
):
    """Serve a bundle until interrupted.

    Args:
        bundle: the folder that `bundle.export` writes.
        host: address to listen on.
        port: 0 for a free one.
        max_request: bytes of a request's body, at most.
        poll: seconds between two checks for new versions.
        ready: called once it listens, with the server's URL, the (model, version) pairs, and the address for gRPC, or
            None.
        patience: how long it waits for clients.
        grpc_port: to answer gRPC on too; 0 for a free one, None for none.
        images: folder of the images of stored vectors, which the page may show small; None: it names them only.

    Raises:
        OSError: if a port is in use.
        ImportError: if there is no package for gRPC.
        ValueError: if nothing in the folder can be served.
    """
    servables = Servables(bundle, images)
    servables.refresh()
    if not servables.available():
        raise ValueError(f"{bundle} has no model that can be served; `keras-vit export` writes such a folder.")
    stopped = threading.Event()
    poller = threading.Thread(target=_keep_up, args=(servables, stopped, poll), daemon=True)
    engine = Engine(servables, max_request)
    with contextlib.ExitStack() as open_ports:
        listening = open_ports.enter_context(contextlib.closing(listen(host, port)))
        beside = None
        if grpc_port is not None:
            beside = open_ports.enter_context(contextlib.closing(listen_to_grpc(engine, host, grpc_port, patience)))
        server = http_server(application(engine), patience, beside.begin_to_end if beside else lambda: None)
        poller.start()
        name = f"[{host}]" if ":" in host else host
        address = f"{name}:{beside.port}" if beside else None
        ready(f"http://{name}:{listening.getsockname()[1]}", servables.available(), address)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    stopped.set()
    poller.join()
    servables.close()


def listen_to_grpc(engine, host, port, patience):
    """The `grpc_server.Server` of all methods; its packages are imported here."""
    from keras_vit.export.devserver.grpc_server import Server
    from keras_vit.export.devserver.inference_service import InferenceService
    from keras_vit.export.devserver.prediction_service import PredictionService

    methods = PredictionService(engine).methods() | InferenceService(engine).methods()
    return Server(engine, methods, host, port, patience)


def http_server(app, patience, at_end=lambda: None):
    """Uvicorn's server of an ASGI application, which SIGTERM ends within the patience's grace and a second or two."""
    import uvicorn

    from keras_vit.export.devserver.connections import Connection, Server

    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=functools.partial(Connection, read_seconds=patience.read),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # clients do not write to the log
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=patience.grace,
    )
    return Server(config, at_end)


def application(engine):
    """The ASGI application over an `Engine`."""
    page = Page(engine.servables, engine.intake, engine.max_request)

    async def respond(request):
        path = _path(request)
        if re.match("/v2(/|$)", path):
            return await _open_inference(engine, request, open_inference.parse_target(request.method, path))
        if not path.lower().startswith("/v1/"):
            raise rest.RestError(404, f"Not found: {path}")
        target = rest.parse_target(request.method, path)
        if request.method == "GET":
            return rest.format_json(_description(engine.servables, target))
        async with engine.intake.body(request) as body:
            return await _predict(engine, target, body)

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]  # rejected by `parse_target`
    starlette = Starlette(
        routes=[
            *file_routes(),
            Route("/page/models", _as_json(page.models), methods=["GET"]),
            Route("/page/occlusion", _as_json(page.occlusion), methods=["POST"]),
            Route("/page/features", _as_json(page.features), methods=["POST"]),
            Route("/page/stored", _as_json(page.stored), methods=["GET"]),
            Route("/{path:path}", _as_json(respond), methods=methods),
        ],
        exception_handlers={HTTPException: _not_routed},
    )
    starlette.router.redirect_slashes = False
    return starlette


async def _not_routed(request, error):
    """The response to a method, or a path, that no route takes."""
    problem = "Not found" if error.status_code == 404 else "Malformed request"
    return _json(rest.format_error(f"{problem}: {request.method} {_path(request)}"), error.status_code)


def _as_json(handler):
    """A route that responds with what the handler returns, JSON or a `Response`, or with the error that it raises."""

    async def respond(request):
        try:
            if "content-length" in request.headers and "transfer-encoding" in request.headers:  # who counts how?
                error = "A request has either a Content-Length or a Transfer-Encoding."
                return _json(rest.format_error(error), 400, {"Connection": "close"})
            answer = await handler(request)
            return answer if isinstance(answer, Response) else _json(answer)
        except rest.RestError as error:
            return _json(rest.format_error(str(error)), error.status)
        except ClientDisconnect:
            return Response(status_code=499)
        except asyncio.CancelledError:
            return _json(rest.format_error("The server ends."), 503, {"Connection": "close"})
        except Exception as error:
            LOG.exception("%s %s", request.method, _path(request))
            return _json(rest.format_error(f"{type(error).__name__}: {error}"), 500)

    return respond


def _path(request):
    """The path as it was sent, percent-encoded."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.decode("latin-1")


async def _predict(engine, target, body):
    """The body of the response to a predict request."""
    if target.verb != "predict":
        raise rest.RestError(400, f"Expected {target.verb} signature method_name. Was: tensorflow/serving/predict")

    def submit():
        servable = None

        def find_signature(name):
            nonlocal servable
            servable = engine.servables.find(target.model, target.version, target.label)
            return servable.find_signature(name)

        signature, inputs, row = rest.parse_predict(body, find_signature)
        return servable.submit(signature.name, inputs), row

    outputs, row = await engine.run(len(body), submit)
    return await engine.format(rest.format_predict, outputs, row)


async def _open_inference(engine, request, target):
    """The response to a request of the Open Inference Protocol."""
    if target.verb != "infer":
        return rest.format_json(_open_description(engine.servables, target, request.query_params))
    async with engine.intake.body(request) as body:

        def submit():
            servable = engine.servables.find(target.model, target.version)
            header = request.headers.get(open_inference.HEADER)
            parsed = open_inference.parse_infer(body, header, servable.signatures)
            return servable.submit(parsed.signature.name, parsed.inputs), (parsed, servable.number)

        outputs, (parsed, version) = await engine.run(len(body), submit)
        content, size = await engine.format(open_inference.format_infer, parsed, target.model, version, outputs)
    if size is None:
        return content
    return Response(content, headers={open_inference.HEADER: str(size)}, media_type="application/octet-stream")


def _open_description(servables, target, query):
    """The JSON value of a GET request of the Open Inference Protocol."""
    if target.verb == "server":
        return open_inference.server_metadata()
    if target.verb == "metadata":
        signatures = servables.find(target.model, target.version).signatures
        versions = servables.versions(target.model)
        return open_inference.model_metadata(target.model, versions, signatures, query.get("signature_name"))
    if target.verb == "live":
        return {"live": True}
    servables.check_ready(target.model or None, target.version)
    # The specification's answer for a server says "live" here, too, and KServe's own says "ready".
    return {"name": target.model, "ready": True} if target.model else {"live": True, "ready": True}


def _description(servables, target):
    """The JSON value of a GET request: metadata or status."""
    which = (target.model, target.version, target.label)
    return servables.find(*which).metadata(target.model) if target.verb == "metadata" else servables.status(*which)


def _json(content, status=200, headers=None):
    return Response(content, status, headers, media_type="application/json")


def _keep_up(servables, stopped, seconds):
    """Check for new versions, and give back memory, every few seconds."""
    while not stopped.wait(seconds):
        memory.give_back()
        try:
            servables.refresh()
        except Exception as error:  # e.g. a broken models.config; what is served stays served
            LOG.error("cannot check for new versions: %s", error)


def listen(host, port):
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)  # at once: clients that are early wait
    except OSError as error:
        listening.close()
        raise OSError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return listening
