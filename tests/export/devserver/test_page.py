"""The page's files and calls, over a real server; test_page_in_chromium.py opens it in a browser."""

import asyncio
import base64
import contextlib
import http.client
import io
import re
import threading
import time

import numpy as np
import pytest
from PIL import Image
from starlette.requests import ClientDisconnect

from keras_vit.export.devserver import connections, page
from keras_vit.export.devserver.app import MEGABYTE
from keras_vit.export.devserver.batching import QueueFull
from keras_vit.export.devserver.rest import RestError

OCCLUSION = "/page/occlusion?model=toys&version=1"


@pytest.fixture(scope="module")
def random_image(exported):
    return (exported[0] / "examples/toys/1/00.png").read_bytes()


def get(running, path, method="GET", headers=None):
    """(status, headers, content)"""
    with running.connect() as connection:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


@pytest.mark.parametrize("path", page.FILES)
def test_files(running, path):
    name, kind = page.FILES[path]
    content = (page.FOLDER / name).read_bytes()
    status, headers, body = get(running, path)
    assert (status, body) == (200, content) and headers["content-type"].startswith(kind)
    assert headers["cache-control"] == "no-cache" and headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    status, same, body = get(running, path, "HEAD")
    assert (status, body) == (200, b"") and same["content-length"] == str(len(content))
    status, _, body = get(running, path, headers={"If-None-Match": headers["etag"]})
    assert (status, body) == (304, b"")


def test_all_files_are_served_and_refer_to_no_other_server():
    assert {path.name for path in page.FOLDER.iterdir()} == {name for name, _ in page.FILES.values()}
    for path in page.FOLDER.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?:|[\"'(]//|@import|url\(|innerHTML|\sstyle=|\son\w+=", text), path.name


def test_ids_in_the_html_are_unique_and_cover_labels_and_script():
    html, script = ((page.FOLDER / name).read_text(encoding="utf-8") for name in ("index.html", "page.js"))
    ids = re.findall(r'\bid="(\w+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:for|aria-labelledby)="(\w+)"', html)) <= set(ids)
    assert set(re.findall(r'(?:find|say)\("(\w+)"', script)) <= {*ids, "code"}


@pytest.mark.parametrize(
    "method, path", [("GET", "/page"), ("GET", "/page/other"), ("POST", "/"), ("PUT", "/page/models")]
)
def test_other_paths_are_not_found(running, method, path):
    assert running.send(path, b"" if method == "POST" else None, method) == (404, {"error": f"Not found: {path}"})


def test_models(running):
    expected = {"models": [{"model": "toys", "versions": [1], "features": []}], "max_request_bytes": 32 * MEGABYTE}
    assert running.send("/page/models") == (200, expected)


def test_occlusion_is_that_of_the_signature(running, random_image):
    """A cell's drop, computed again by TF Serving's call from the returned image."""
    status, response = running.send(f"{OCCLUSION}&class=2&class=0", random_image)
    assert status == 200 and response["version"] == 1 and response["size"] == [16, 24]
    assert (response["patch"], response["stride"]) == (6, 3)
    image = np.array(Image.open(io.BytesIO(base64.b64decode(response["image"]))), float)
    hidden = image.copy()
    hidden[2:8, 5:11] = image.mean((0, 1))  # the cell in row 1, column 2, and 1 pixel before it, 2 after
    body = {"signature_name": "predict_images", "instances": [image.tolist(), hidden.tolist()]}
    whole, covered = np.array(running.send("/v1/models/toys:predict", body)[1]["predictions"])
    for one, number in zip(response["classes"], (2, 0)):
        assert one["class_id"] == number and np.shape(one["drops"]) == (6, 8)
        assert one["score"] == pytest.approx(whole[number], abs=0.02)
        assert one["drops"][1][2] == pytest.approx((whole - covered)[number], abs=0.02)  # of pixels rounded for the PNG


@pytest.mark.parametrize(
    "path, body, status, problem",
    [
        (f"{OCCLUSION}&class=0", b"no image", 400, "send JPEG or PNG"),
        (f"{OCCLUSION}&class=0", b"", 400, "send JPEG or PNG"),
        (f"{OCCLUSION}&class=6", None, 400, "Classes are numbers from 0 to 5. Received: [6]"),
        (OCCLUSION, None, 400, "Received: []"),
        (f"{OCCLUSION}&class=x", None, 400, "whole numbers"),
        (f"{OCCLUSION}&class={'9' * 5000}", None, 400, "whole numbers"),
        (f"{OCCLUSION}&class=999999999999999999", None, 400, "Classes are numbers from 0 to 5"),
        (f"{OCCLUSION}&class=-1", None, 400, "Classes are numbers from 0 to 5. Received: [-1]"),
        (f"{OCCLUSION}&class=%D9%A3", None, 400, "whole numbers"),
        (OCCLUSION + "&class=0" * 1001, None, 400, "At most 1000 classes"),
        (f"/page/occlusion?model=toys&version={'9' * 5000}&class=0", None, 400, "whole numbers"),
        ("/page/occlusion?model=toys&version=new", None, 400, "whole numbers"),
        (
            "/page/occlusion?model=toys&version=9&class=0",
            None,
            404,
            "Servable not found for request: Specific(toys, 9)",
        ),
        ("/page/occlusion?class=0", None, 404, "Servable not found"),
    ],
)
def test_malformed_occlusion_requests(running, random_image, path, body, status, problem):
    received, response = running.send(path, random_image if body is None else body)
    assert received == status and problem in response["error"]


def test_images_that_mean_harm_are_refused_as_by_the_signatures(running):
    """Each is answered without its pixels being decoded, or by none that Pillow would not see."""
    for name, image in hostile_images().items():
        body = {"instances": [{"b64": base64.b64encode(image).decode()}]}
        status, response = running.send("/v1/models/toys:predict", body)
        assert status == 200, name
        shown, maps = running.send(f"{OCCLUSION}&class=0", image)
        assert (shown == 200) == (response["predictions"][0]["class_ids"][0] >= 0), name
        assert shown == 200 or "send JPEG or PNG" in maps["error"], name


def hostile_images():
    """Images of extreme sides, of damaged and of wrong content."""

    def saved(size, kind="PNG", mode="1"):
        content = io.BytesIO()
        Image.new(mode, size).save(content, kind)
        return content.getvalue()

    jpeg = bytearray(saved((8, 8), "JPEG", "RGB"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 2] = (32767).to_bytes(2, "big")  # the height that it claims
    png = saved((40, 30), mode="RGB")
    return {
        "narrow": saved((1, 60_000)),
        "flat": saved((60_000, 1)),
        "large": saved((12_000, 12_000)),
        "claims height": bytes(jpeg),
        "cut": png[: len(png) // 2],
        "zeros": bytes(1000),
        "empty": b"",
        "plain": png,
    }


def test_an_image_that_is_too_large_is_rejected(running):
    with running.connect() as connection:
        connection.putrequest("POST", f"{OCCLUSION}&class=0")
        connection.putheader("Content-Length", str(33 * MEGABYTE))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_predictions_run_between_the_batches_of_occlusion(running, random_image):
    statuses = []

    def look():
        with contextlib.suppress(http.client.HTTPException):
            statuses.append(running.send(f"{OCCLUSION}&class=0", random_image)[0])

    looking = [threading.Thread(target=look) for _ in range(6)]
    for thread in looking:
        thread.start()
    body = {"instances": [{"b64": base64.b64encode(random_image).decode()}]}
    assert {running.send("/v1/models/toys:predict", body)[0] for _ in range(10)} == {200}
    for thread in looking:
        thread.join()
    assert statuses == [200] * 6


class Servables:
    """One model with prepared outputs."""

    number, signatures, largest_batch, features = 3, {page.SIGNATURE: None}, 4, ()

    def __init__(self, error=None, signatures=True):
        self._error = error
        self.signatures = {page.SIGNATURE: None} if signatures else {}

    def find(self, model, version):
        return self

    def decode(self, random_image):
        return np.zeros((8, 8, 3), np.float32)

    def submit(self, signature, inputs):
        if isinstance(self._error, Exception):
            raise self._error
        scores = np.full((len(inputs["images"]), 2), self._error or 0.5)
        return type("Done", (), {"result": lambda self: {"probabilities": scores}})()


class Request:
    """Of a client that may disconnect."""

    def __init__(self, gone=False, half_closed=False):
        from starlette.datastructures import QueryParams

        self.scope = {"state": {connections.HALF_CLOSED: True} if half_closed else {}}
        self.query_params, self._gone = QueryParams("model=x&class=1"), gone

    async def is_disconnected(self):
        return self._gone


class Intake:
    @contextlib.asynccontextmanager
    async def body(self, request):
        yield b"image"


@pytest.mark.parametrize(
    "servables, status, problem",
    [
        (Servables(QueueFull("full")), 503, "full"),
        (Servables(float("nan")), 500, "are not numbers"),
        (Servables(signatures=False), 400, "Version 3 has no signature predict_images"),
    ],
)
def test_errors_of_the_model(servables, status, problem):
    with pytest.raises(RestError, match=problem) as error:
        asyncio.run(page.Page(servables, Intake(), 1).occlusion(Request()))
    assert error.value.status == status


def test_occlusion_ends_for_browsers_that_sent_no_more():
    class Slow(Servables):
        def submit(self, signature, inputs):
            time.sleep(0.2)
            return super().submit(signature, inputs)

    with pytest.raises(ClientDisconnect):
        asyncio.run(page.Page(Slow(), Intake(), 1).occlusion(Request(half_closed=True)))


def test_occlusion_stops_when_the_client_is_gone():
    gone = threading.Event()
    gone.set()
    with pytest.raises(ClientDisconnect):
        page.occlusion_maps(Servables(), b"", [0], gone)


def test_requests_beyond_the_limit_are_rejected():
    async def scenario():
        looking = page.Page(Servables(), Intake(), 1)
        responses = await asyncio.gather(
            *(looking.occlusion(Request()) for _ in range(page.ADMITTED + 2)), return_exceptions=True
        )
        refused = [response for response in responses if isinstance(response, RestError)]
        assert len(refused) == 2 and {error.status for error in refused} == {503}
        assert await looking.occlusion(Request())

    asyncio.run(scenario())
