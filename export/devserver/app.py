"""A model server for development: TF Serving's REST interface, without its container.

`connections` reads requests, `rest` parses them, `batching` batches those that arrive at the same time, `servables`
loads new versions while the server runs, and `page` is the page to try a model on. Memory is bounded: by the size of a
request's body, and by the size of all bodies in flight; a request beyond that is rejected at once.
"""

import asyncio
import contextlib
import functools
import logging
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from keras_vit.export.devserver import memory, rest
from keras_vit.export.devserver.batching import QueueFull
from keras_vit.export.devserver.page import Page, file_routes
from keras_vit.export.devserver.servables import Servables
from keras_vit.system.limits import GRACE_SECONDS, READ_SECONDS

LOG = logging.getLogger(__name__)
MEGABYTE = 2**20
IN_FLIGHT = 8  # bodies of the largest size that may be in flight
BACKLOG = 2048  # connections that wait to be accepted, as uvicorn has it
LARGE = MEGABYTE  # bytes of a body; as JSON values it may take thirty times as many, so such bodies are parsed in turn


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
    ready=lambda url, models: None,
    patience=Patience(),
    images=None,
):
    """Serve a bundle until interrupted.

    Args:
        bundle: the folder that `bundle.export` writes.
        host: address to listen on.
        port: 0 for a free one.
        max_request: bytes of a request's body, at most.
        poll: seconds between two checks for new versions.
        ready: called with the server's URL and the (model, version) pairs once it listens.
        patience: how long it waits for clients.
        images: folder of the images of stored vectors, which the page may show small; None: it names them only.

    Raises:
        OSError: if the port is in use.
        ValueError: if nothing in the folder can be served.
    """
    servables = Servables(bundle, images)
    servables.refresh()
    if not servables.available():
        raise ValueError(f"{bundle} has no model that can be served; `keras-vit export` writes such a folder.")
    stopped = threading.Event()
    poller = threading.Thread(target=_keep_up, args=(servables, stopped, poll), daemon=True)
    with contextlib.closing(listen(host, port)) as listening:
        server = http_server(application(servables, max_request), patience)
        poller.start()
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listening.getsockname()[1]}", servables.available())
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        stopped.set()
        poller.join()
        servables.close()


def http_server(app, patience):
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
    return Server(config)


def application(servables, max_request=32 * MEGABYTE):
    """The ASGI application over `Servables`."""
    intake = Intake(max_request, IN_FLIGHT * max_request)
    workers = ThreadPoolExecutor(os.cpu_count(), "rest")  # parse and format JSON
    one_by_one = ThreadPoolExecutor(1, "rest-large")  # parses large bodies
    page = Page(servables, intake, max_request)

    async def respond(request):
        path = _path(request)
        if not path.lower().startswith("/v1/"):
            raise rest.RestError(404, f"Not found: {path}")
        target = rest.parse_target(request.method, path)
        if request.method == "GET":
            return rest.format_json(_description(servables, target))
        async with intake.body(request) as body:
            return await _predict(servables, target, body, workers, one_by_one if len(body) > LARGE else workers)

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]  # rejected by `rest.parse_target`
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
    """A route that responds with what the handler returns, JSON or a response, or the error that it raises."""

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
        if announced.isascii() and announced.isdigit():
            self._refuse(int(announced), int(announced))
        try:
            async for chunk in request.stream():
                self._refuse(size + len(chunk), len(chunk))
                chunks.append(chunk)
                size += len(chunk)
                self._held += len(chunk)
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._held -= size

    def _refuse(self, size, more):
        if size > self._largest:
            raise rest.RestError(413, f"Request of {size} bytes or more; at most {self._largest} are read.")
        if self._held + more > self._together:
            raise rest.RestError(503, "The memory for requests in flight is exhausted; try again.")


async def _predict(servables, target, body, workers, parsers):
    """The body of the response to a predict request; `parsers` parse its body."""
    if target.verb != "predict":
        raise rest.RestError(400, f"Expected {target.verb} signature method_name. Was: tensorflow/serving/predict")
    loop = asyncio.get_running_loop()

    def submit():
        servable = None

        def find_signature(name):
            nonlocal servable
            servable = servables.find(target.model, target.version, target.label)
            return servable.find_signature(name)

        with memory.without_cycles():
            signature, inputs, row = rest.parse_predict(body, find_signature)
        return servable.submit(signature.name, inputs), row

    try:
        future, row = await loop.run_in_executor(parsers, submit)
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
