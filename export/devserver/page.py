"""The web page at the root of `keras-vit serve`: its files, and the calls that only it uses.

    GET  /                                                  the page; its files are under /page/
    GET  /page/models                                       the versions that are served
    POST /page/occlusion?model=NAME&version=N&class=K...    the bytes of an image; its occlusion maps (`occlusion`)
    POST /page/features?model=NAME&version=N                the bytes of an image; its features, and the nearest stored
    GET  /page/stored?model=NAME&version=N&id=K             a stored image, small (`neighbours`)

Of a model that gives features, the numbers of /page/occlusion's classes are those of stored vectors, and the maps show
how much the cosine with each falls.

The scores come from TF Serving's predict call (`rest`), whose paths begin with /v1.
The page contacts this server only: its Content-Security-Policy has the browser refuse everything else.
"""

import asyncio
import base64
import contextlib
import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from keras_vit.export.devserver import neighbours
from keras_vit.export.devserver.batching import QueueFull
from keras_vit.export.devserver.connections import HALF_CLOSED
from keras_vit.export.devserver.occlusion import occlusion, square
from keras_vit.export.devserver.rest import RestError, format_json, shortened
from keras_vit.system.limits import MAX_OCCLUDED

FOLDER = Path(__file__).with_name("www")
FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/map.js": ("map.js", "text/javascript"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Cache-Control": "no-cache",  # cached, and revalidated by its ETag
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
AT_ONCE = 2  # occlusion requests that run at the same time
ADMITTED = 8  # running and waiting ones, at most
SIGNATURE, IMAGES, PROBABILITIES = "predict_images", "images", "probabilities"


def file_routes():
    """Routes of the page's files."""
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
    """The page's own calls; they return JSON, or raise `RestError`.

    Args:
        servables: `Servables`.
        intake: `app.Intake`.
        max_request: bytes of a request's body, at most; the page scales larger images down.
    """

    def __init__(self, servables, intake, max_request):
        self._servables, self._intake, self._max_request = servables, intake, max_request
        self._workers = ThreadPoolExecutor(AT_ONCE, "occlusion")
        self._quick = ThreadPoolExecutor(AT_ONCE, "features")
        self._admitted = 0

    async def models(self, request):
        """The models and their versions, the newest first; and which versions give features."""
        models = {}
        for model, version in sorted(self._servables.available(), reverse=True):
            entry = models.setdefault(model, {"model": model, "versions": [], "features": []})
            with contextlib.suppress(RestError):  # it is no longer served
                features = self._servables.find(model, version).features
                entry["versions"].append(version)
                entry["features"] += [version] if features else []
        models = [models[model] for model in sorted(models)]
        return format_json({"models": models, "max_request_bytes": self._max_request})

    async def occlusion(self, request):
        """The prepared image and the drops of the classes' scores; ends early if the client disconnects."""
        servable, classes = self._parse(request.query_params)
        async with self._admission(), self._intake.body(request) as image:
            gone = threading.Event()
            arguments = (servable, image, classes, gone)
            maps = asyncio.get_running_loop().run_in_executor(self._workers, occlusion_maps, *arguments)
            try:
                while not maps.done():
                    await asyncio.wait({maps}, timeout=0.5)
                    if await _is_gone(request):
                        gone.set()
                return await maps
            except QueueFull as error:
                raise RestError(503, str(error)) from error
            except ValueError as error:
                raise RestError(400, str(error)) from error
            finally:
                gone.set()  # also where the server ends

    async def features(self, request):
        """The features of an image, and the nearest stored vectors."""
        servable, _ = self._parse(request.query_params)
        async with self._intake.body(request) as image:
            try:
                found = await self._in_worker(neighbours.described, servable, image)
            except QueueFull as error:
                raise RestError(503, str(error)) from error
            return format_json(found)

    async def stored(self, request):
        """A stored image, small: a response, not JSON."""
        servable, numbers = self._parse(request.query_params, "id")
        if len(numbers) != 1:
            raise RestError(400, f"Expected one id. Received: {len(numbers)}.")
        content = await self._in_worker(neighbours.small_image, servable, numbers[0])
        return Response(content, media_type="image/jpeg", headers=HEADERS)

    async def _in_worker(self, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._quick, function, *arguments)

    def _parse(self, query, name="class"):
        """The `Servable` and the numbers, of classes or of another name, of a query."""
        version, classes = query.get("version"), query.getlist(name)
        wrong = [text for text in (version, *classes) if text is not None and not re.fullmatch("-?[0-9]{1,18}", text)]
        if wrong:
            raise RestError(400, f"version and {name} are whole numbers. Received: {shortened(wrong[0])}")
        if len(classes) > MAX_OCCLUDED:
            raise RestError(400, f"At most {MAX_OCCLUDED} classes. Received: {len(classes)}.")
        classes = [int(number) for number in classes]
        version = None if version is None else int(version)
        return self._servables.find(query.get("model", ""), version), classes

    @contextlib.asynccontextmanager
    async def _admission(self):
        if self._admitted >= ADMITTED:
            raise RestError(503, "Too many occlusion requests are waiting; try again.")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1


async def _is_gone(request):
    """Whether nobody waits for the response; browsers never close one half of a connection, and wait on the other."""
    return request.scope["state"].get(HALF_CLOSED, False) or await request.is_disconnected()


def occlusion_maps(servable, encoded, classes, gone):
    """The body of the response of /page/occlusion; other requests can run between its batches."""

    def predict(images):
        if gone.is_set():
            raise ClientDisconnect
        return scores_of(servable.submit(SIGNATURE, {IMAGES: images}).result())

    if SIGNATURE not in servable.signatures:
        raise RestError(400, f"Version {servable.number} has no signature {SIGNATURE}; `keras-vit export` writes it.")
    scores_of, places = _scores(servable, classes)
    image = servable.decode(encoded)
    patch, stride = square(image.shape[:2])
    scores, drops = occlusion(predict, image, places, patch, stride, servable.largest_batch)
    if not np.isfinite(drops).all():
        raise RestError(500, "The model's scores for this image are not numbers.")
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


def _scores(servable, numbers):
    """(outputs -> scores (B, m), places of the numbers among them): probabilities, or cosines with stored vectors."""
    if not servable.features:
        return lambda outputs: outputs[PROBABILITIES], numbers
    stored = servable.stored
    if stored is None:
        raise RestError(
            400, f"Version {servable.number} has no stored vectors; `keras-vit export --index` writes them."
        )
    if not numbers or not all(0 <= number < len(stored.names) for number in numbers):
        raise RestError(400, f"Stored vectors have numbers from 0 to {len(stored.names) - 1}. Received: {numbers}.")
    [name] = servable.features
    return lambda outputs: stored.cosines(outputs[name], numbers), range(len(numbers))
