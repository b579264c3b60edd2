"""Valid and malformed requests of TF Serving's REST interface, from many threads at once."""

import base64
import http.client
import struct
import threading
import zlib

from keras_vit.export.serving import client
from tests.export.running import send

PREDICT = "/v1/models/toys:predict"
GREY = [[[128.0] * 3] * 24] * 16


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


def huge_png(side=20_000):
    """A valid PNG of one bit a pixel: 50 kB that decompress to 1.2 GB."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((1 + side // 8) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


MALFORMED = {
    "empty": (b"", 400),
    "no JSON": (b"instances = [1]", 400),
    "cut off": (b'{"instances": [{"b64": "aGV', 400),
    "no object": (b"[1, 2]", 400),
    "wrong key": ({"images": [1]}, 400),
    "both keys": ({"instances": ["x"], "inputs": ["x"]}, 400),
    "no instances": ({"instances": []}, 400),
    "wrong input": ({"instances": [{"image": {"b64": ""}}]}, 400),
    "truncated base64": ({"instances": [{"b64": "aGVsb"}]}, 400),
    "no base64": ({"instances": [{"b64": "%%%%"}]}, 400),
    "a number": ({"instances": [1.0]}, 400),
    "NaN for an image": ({"instances": [float("nan")]}, 400),
    "nested images": ({"instances": [[{"b64": ""}]]}, 400),
    "no such signature": ({"instances": ["x"], "signature_name": "none"}, 400),
    "signature without a name": ({"instances": ["x"], "signature_name": 1}, 400),
    "wrong shape": ({"instances": [[[1.0]]], "signature_name": "predict_images"}, 400),
    "ragged": ({"instances": [GREY, GREY[:3]], "signature_name": "predict_images"}, 400),
    "text in an image": ({"instances": [[[["1"] * 3] * 24] * 16], "signature_name": "predict_images"}, 400),
    "more than a batch": ({"instances": ["x"] * 33}, 400),
}


class Storm:
    """Valid and malformed requests in turn, from many threads."""

    def __init__(self, running, stored):
        self._running, self._stored = running, stored
        self._bad = [*MALFORMED.values(), ({"instances": [b64(huge_png())]}, 200)]

    def problems(self, number, threads=16):
        """What was wrong with the responses to a number of requests."""
        found, jobs, lock = [], iter(range(number)), threading.Lock()

        def next_job():
            with lock:
                return next(jobs, None)

        def work():
            with self._running.connect() as connection:
                for job in iter(next_job, None):
                    try:
                        found.extend(self._malformed(job, connection) if job % 3 == 2 else self._good(job, connection))
                    except (OSError, http.client.HTTPException, ValueError) as error:
                        found.append(repr(error))
                        connection.close()

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return found

    def _malformed(self, job, connection):
        body, expected = self._bad[job // 3 % len(self._bad)]
        status, response = send(connection, PREDICT, body)
        return [] if status == expected else [f"{status} {response}, not {expected}"]

    def _good(self, job, connection):
        some = [self._stored[(job + step) % len(self._stored)] for step in range(1 + job % 4)]
        status, response = send(connection, PREDICT, {"instances": [b64(image) for image, _ in some]})
        if status != 200 or len(response["predictions"]) != len(some):
            return [f"{status} {response}"]
        pairs = zip(response["predictions"], some)
        return [f"{one}, not {expected}" for one, (_, expected) in pairs if not client.alike(one, expected, 1e-4)]
