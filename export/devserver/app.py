"""A model server for development: TF Serving's REST interface, without its container.

`rest` parses requests, `batching` batches those that arrive at the same time, `servables` loads new versions while the
server runs, and `page` is the page to try a model on. Memory is bounded: by the size of a request's body, and by the
size of all bodies in flight; a request beyond that is rejected at once.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from keras_vit.export.devserver import rest
from keras_vit.export.devserver.batching import QueueFull
from keras_vit.export.devserver.page import Page, file_routes
from keras_vit.export.devserver.servables import Servables

LOG = logging.getLogger(__name__)
MEGABYTE = 2**20
IN_FLIGHT = 8  # bodies of the largest size that may be in flight


def serve(bundle, host="127.0.0.1", port=8501, max_request=32 * MEGABYTE, poll=1.0, ready=lambda url, models: None):
    """Serve a bundle until interrupted.

    Args:
        bundle: the folder that `bundle.export` writes.
        host: address to listen on.
        port: 0 for a free one.
        max_request: bytes of a request's body, at most.
        poll: seconds between two checks for new versions.
        ready: called with the server's URL and the (model, version) pairs once it listens.

    Raises:
        OSError: if the port is in use.
        ValueError: if nothing in the folder can be served.
    """
    import uvicorn

    servables = Servables(bundle)
    servables.refresh()
    if not servables.available():
        raise ValueError(f"{bundle} has no model that can be served; `keras-vit export` writes such a folder.")
    stopped = threading.Event()
    poller = threading.Thread(target=_keep_up, args=(servables, stopped, poll), daemon=True)
    with contextlib.closing(_listen(host, port)) as listening:
        app = application(servables, max_request)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        poller.start()
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listening.getsockname()[1]}", servables.available())
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        stopped.set()
        poller.join()
        servables.close()


def application(servables, max_request=32 * MEGABYTE):
    """The ASGI application over `Servables`."""
    intake = Intake(max_request, IN_FLIGHT * max_request)
    workers = ThreadPoolExecutor(os.cpu_count(), "rest")  # parse and format JSON
    page = Page(servables, intake, max_request)

    async def respond(request):
        path = _path(request)
        if not path.lower().startswith("/v1/"):
            raise rest.RestError(404, f"Not found: {path}")
        target = rest.parse_target(request.method, path)
        if request.method == "GET":
            return rest.format_json(_description(servables, target))
        async with intake.body(request) as body:
            return await _predict(servables, target, body, workers)

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]  # rejected by `rest.parse_target`
    return Starlette(
        routes=[
            *file_routes(),
            Route("/page/models", _as_json(page.models), methods=["GET"]),
            Route("/page/occlusion", _as_json(page.occlusion), methods=["POST"]),
            Route("/{path:path}", _as_json(respond), methods=methods),
        ]
    )


def _as_json(handler):
    """A route that responds with what the handler returns, or the error that it raises."""

    async def respond(request):
        try:
            return _json(await handler(request))
        except rest.RestError as error:
            return _json(rest.format_error(str(error)), error.status)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            LOG.exception("%s %s", request.method, _path(request))
            return _json(rest.format_error(f"{type(error).__name__}: {error}"), 500)

    return respond


def _path(request):
    """The path as it was sent, percent-encoded."""
    return request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")


class Intake:
    """Reads the bodies of requests within limits.

    Args:
        largest: bytes of a body, at most.
        together: bytes of all bodies in flight, at most.
    """

    def __init__(self, largest, together):
        self._largest, self._together, self._held = largest, together, 0

    @contextlib.asynccontextmanager
    async def body(self, request):
        """The body, which counts as in flight until the block ends; `RestError` beyond the limits."""
        chunks, size = [], 0
        announced = request.headers.get("content-length", "")
        if announced.isdigit():
            self._refuse(int(announced), int(announced))
        try:
            async for chunk in request.stream():
                self._refuse(size + len(chunk), len(chunk))
                chunks.append(chunk)
                size += len(chunk)
                self._held += len(chunk)
            yield b"".join(chunks)
        finally:
            self._held -= size

    def _refuse(self, size, more):
        if size > self._largest:
            raise rest.RestError(413, f"Request of {size} bytes or more; at most {self._largest} are read.")
        if self._held + more > self._together:
            raise rest.RestError(503, "The memory for requests in flight is exhausted; try again.")


async def _predict(servables, target, body, workers):
    """The body of the response to a predict request."""
    if target.verb != "predict":
        raise rest.RestError(400, f"Expected {target.verb} signature method_name. Was: tensorflow/serving/predict")
    loop = asyncio.get_running_loop()

    def submit():
        servable = None

        def find_signature(name):
            nonlocal servable
            servable = servables.find(target.model, target.version, target.label)
            return servable.find_signature(name)

        signature, inputs, row = rest.parse_predict(body, find_signature)
        return servable.submit(signature.name, inputs), row

    try:
        future, row = await loop.run_in_executor(workers, submit)
        outputs = await asyncio.wrap_future(future)
    except QueueFull as error:
        raise rest.RestError(503, str(error)) from error
    except ValueError as error:
        raise rest.RestError(400, str(error)) from error
    return await loop.run_in_executor(workers, rest.format_predict, outputs, row)


def _description(servables, target):
    """The JSON value of a GET request: metadata or status."""
    which = (target.model, target.version, target.label)
    return servables.find(*which).metadata(target.model) if target.verb == "metadata" else servables.status(*which)


def _json(content, status=200):
    return Response(content, status, media_type="application/json")


def _keep_up(servables, stopped, seconds):
    """Check for new versions every few seconds."""
    while not stopped.wait(seconds):
        try:
            servables.refresh()
        except Exception as error:  # e.g. a broken models.config; what is served stays served
            LOG.error("cannot check for new versions: %s", error)


def _listen(host, port):
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return listening
