"""A model server for development: what TF Serving's REST interface answers, without its container.

Requests that come at the same time become batches (`batching`), new versions are taken up while it runs (`servables`),
what a request may mean is in `rest`, and the page to try a model on is `page`. Memory is bounded: a body has a largest
size, so have all bodies together that are being worked on, and what is beyond is turned away at once.
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

from keras_vit.export import rest
from keras_vit.export.batching import QueueFull
from keras_vit.export.page import Page, file_routes
from keras_vit.export.servables import Servables

LOG = logging.getLogger(__name__)
MEGABYTE = 2**20
IN_FLIGHT = 8  # largest bodies that may be worked on at once


def serve(bundle, host="127.0.0.1", port=8501, max_request=32 * MEGABYTE, poll=1.0, ready=lambda url, models: None):
    """Serve a bundle until interrupted.

    Args:
        bundle: the folder that `bundle.export` writes.
        port: 0 takes a free one.
        max_request: bytes of a request's body, at most.
        poll: seconds between two looks for new versions.
        ready: called with the server's URL and the (model, version) pairs once it answers.
    Raises: ValueError if nothing in the folder can be served, OSError if the port is taken.
    """
    import uvicorn

    servables = Servables(bundle)
    servables.refresh()
    if not servables.available():
        raise ValueError(f"{bundle} holds no model that can be served; `keras-vit export` writes such a folder.")
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
    workers = ThreadPoolExecutor(os.cpu_count(), "rest")  # they read and write JSON
    page = Page(servables, intake, max_request)

    async def answer(request):
        path = _path(request)
        if not path.lower().startswith("/v1/"):
            raise rest.RestError(404, f"Not found: {path}")
        target = rest.parse_target(request.method, path)
        if request.method == "GET":
            return rest.format_json(_told(servables, target))
        async with intake.body(request) as body:
            return await _predicted(servables, target, body, workers)

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]  # to be told that they mean nothing
    return Starlette(
        routes=[
            *file_routes(),
            Route("/page/models", _as_json(page.models), methods=["GET"]),
            Route("/page/occlusion", _as_json(page.occlusion), methods=["POST"]),
            Route("/{path:path}", _as_json(answer), methods=methods),
        ]
    )


def _as_json(handler):
    """A route whose answer is what the handler returns, or the error that it raises."""

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
    """As it was sent: encoded."""
    return request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")


class Intake:
    """Bodies of requests, as much of them as fits."""

    def __init__(self, largest, together):
        self._largest, self._together, self._held = largest, together, 0

    @contextlib.asynccontextmanager
    async def body(self, request):
        """The body, counted for as long as the block lasts; `RestError` for one too many."""
        parts, size = [], 0
        announced = request.headers.get("content-length", "")
        if announced.isdigit():
            self._refuse(int(announced), int(announced))
        try:
            async for part in request.stream():
                self._refuse(size + len(part), len(part))
                parts.append(part)
                size += len(part)
                self._held += len(part)
            yield b"".join(parts)
        finally:
            self._held -= size

    def _refuse(self, size, more):
        if size > self._largest:
            raise rest.RestError(413, f"Request of {size} bytes or more; at most {self._largest} are read.")
        if self._held + more > self._together:
            raise rest.RestError(503, "The server works on as many requests as it has memory for; try again.")


async def _predicted(servables, target, body, workers):
    """The body of the answer to a prediction."""
    if target.verb != "predict":
        raise rest.RestError(400, f"Expected {target.verb} signature method_name. Was: tensorflow/serving/predict")
    loop = asyncio.get_running_loop()

    def submitted():
        servable = None

        def find_signature(name):
            nonlocal servable
            servable = servables.find(target.model, target.version, target.label)
            return servable.find_signature(name)

        signature, inputs, row = rest.parse_predict(body, find_signature)
        return servable.submit(signature.name, inputs), row

    try:
        future, row = await loop.run_in_executor(workers, submitted)
        outputs = await asyncio.wrap_future(future)
    except QueueFull as error:
        raise rest.RestError(503, str(error)) from error
    except ValueError as error:
        raise rest.RestError(400, str(error)) from error
    return await loop.run_in_executor(workers, rest.format_predict, outputs, row)


def _told(servables, target):
    """What a GET request asks for."""
    about = (target.model, target.version, target.label)
    return servables.find(*about).metadata(target.model) if target.verb == "metadata" else servables.status(*about)


def _json(content, status=200):
    return Response(content, status, media_type="application/json")


def _keep_up(servables, stopped, seconds):
    """Look for new versions now and then."""
    while not stopped.wait(seconds):
        try:
            servables.refresh()
        except Exception as error:  # a file was changed for the worse; what is served stays served
            LOG.error("the versions stay as they are: %s", error)


def _listen(host, port):
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"{host}:{port} cannot be listened on: {error.strerror}.") from error
    return listening
