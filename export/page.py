"""The page that `keras-vit serve` opens at its root: what it is made of, and the two calls that are its own.

    GET  /                                                  the page; its files lie under /page/
    GET  /page/models                                       which versions of which models are served
    POST /page/occlusion?model=NAME&version=N&class=K...    a picture's bytes; where the model looked (`occlusion`)

The picture's scores come from TF Serving's own call (`rest`), whose paths begin with /v1 and stay as they are.
The page asks this server and no other: its Content-Security-Policy has the browser refuse everything else.
"""

import asyncio
import base64
import contextlib
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from keras_vit.export.batching import QueueFull
from keras_vit.export.occlusion import occlusion, square
from keras_vit.export.rest import RestError, format_json

FOLDER = Path(__file__).with_name("www")
FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/map.js": ("map.js", "text/javascript"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Cache-Control": "no-cache",  # kept, and asked for again with its ETag
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
AT_ONCE = 2  # pictures that are looked into at the same time
WAITING = 8  # of them, with those that wait
SIGNATURE, IMAGES, PROBABILITIES = "predict_images", "images", "probabilities"


def file_routes():
    """The routes of the page's files."""
    return [Route(path, _file(name, kind), methods=["GET"]) for path, (name, kind) in FILES.items()]


def _file(name, kind):
    content = (FOLDER / name).read_bytes()
    headers = {**HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"'}

    async def respond(request):
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return respond


class Page:
    """The page's own calls. They return JSON, or raise `RestError`.

    Args:
        servables: `Servables`.
        intake: `server.Intake`.
        max_request: bytes of a request's body, at most; the page makes larger pictures smaller.
    """

    def __init__(self, servables, intake, max_request):
        self._servables, self._intake, self._max_request = servables, intake, max_request
        self._workers = ThreadPoolExecutor(AT_ONCE, "occlusion")
        self._admitted = 0

    async def models(self, request):
        """What can be chosen, versions from the newest."""
        versions = {}
        for model, version in sorted(self._servables.available(), reverse=True):
            versions.setdefault(model, []).append(version)
        models = [{"model": model, "versions": versions[model]} for model in sorted(versions)]
        return format_json({"models": models, "max_request_bytes": self._max_request})

    async def occlusion(self, request):
        """The picture as the model gets it, and the drops of the classes' scores; ends early if nobody listens."""
        servable, classes = self._asked(request.query_params)
        async with self._admission(), self._intake.body(request) as picture:
            gone = threading.Event()
            arguments = (servable, picture, classes, gone)
            looking = asyncio.get_running_loop().run_in_executor(self._workers, _look, *arguments)
            while not looking.done():
                await asyncio.wait({looking}, timeout=0.5)
                if await request.is_disconnected():
                    gone.set()
            try:
                return await looking
            except QueueFull as error:
                raise RestError(503, str(error)) from error
            except ValueError as error:
                raise RestError(400, str(error)) from error

    def _asked(self, query):
        """The `Servable` and the class numbers that a query names."""
        try:
            version = int(query["version"]) if "version" in query else None
            classes = [int(number) for number in query.getlist("class")]
        except ValueError as error:
            raise RestError(400, f"version and class are whole numbers. Received: {query}") from error
        return self._servables.find(query.get("model", ""), version), classes

    @contextlib.asynccontextmanager
    async def _admission(self):
        if self._admitted >= WAITING:
            raise RestError(503, "The server looks into as many pictures as it has time for; try again.")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1


def _look(servable, picture, classes, gone):
    """The answer of /page/occlusion; in batches that other requests come between."""

    def predict(images):
        if gone.is_set():
            raise ClientDisconnect
        return servable.submit(SIGNATURE, {IMAGES: images}).result()[PROBABILITIES]

    if SIGNATURE not in servable.signatures:
        raise RestError(400, f"Version {servable.number} has no signature {SIGNATURE}; `keras-vit export` writes it.")
    image = servable.decode(picture)
    patch, stride = square(image.shape[:2])
    scores, drops = occlusion(predict, image, classes, patch, stride, servable.largest_batch)
    if not np.isfinite(drops).all():
        raise RestError(500, "The model's scores for this picture are not numbers.")
    png = tf.io.encode_png(np.clip(np.rint(image), 0, 255).astype("uint8")).numpy()
    return format_json(
        {
            "version": servable.number,
            "image": base64.b64encode(png).decode(),
            "size": image.shape[:2],
            "patch": patch,
            "stride": stride,
            "classes": [
                {"class_id": number, "score": round(float(score), 6), "drops": drop.round(6).tolist()}
                for number, score, drop in zip(classes, scores, drops)
            ],
        }
    )
