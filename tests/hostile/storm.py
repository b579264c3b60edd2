"""Hostile exchanges and good requests at once: what a server must do is said by `Storm.problems`."""

import base64
import collections
import contextlib
import http.client
import itertools
import json
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from keras_vit.export.devserver.inference_service import message
from keras_vit.export.serving import client
from tests.export.running import send
from tests.hostile import protocols, requests

CLIENTS = 8  # half of them hostile
HANGING = 16  # connections, and calls, that hostile clients keep open
FULL = ("try again", "queue")  # in a 503, which is said where more is asked at once than there is room for
REFUSALS = {
    *(grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION),
    *(grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.CANCELLED),
}


class Storm:
    """Hostile exchanges and good requests, by several clients at once.

    Args:
        address: the server's.
        grpc_address: that of gRPC, "host:port".
        images: of good requests, and what hostile ones are made of.
    """

    def __init__(self, address, grpc_address, images):
        self._address, self._images = address, images
        self._channel = grpc.insecure_channel(grpc_address)
        host, port = grpc_address.rsplit(":", 1)
        self._grpc_address = (host, int(port))
        self._hanging, self.statuses, self.asked = collections.deque(), collections.Counter(), collections.Counter()
        with self._connected() as connection:
            self._expected = [self._rest(connection, image) for image in images]
        assert all(answer["class_ids"][0] >= 0 for answer in self._expected)

    def problems(self, exchanges):
        """What went wrong."""
        found, over = [], threading.Event()
        good = [threading.Thread(target=self._be_good, args=(found, over)) for _ in range(CLIENTS // 2)]
        for thread in good:
            thread.start()
        with ThreadPoolExecutor(CLIENTS // 2) as hostile:
            for some in hostile.map(self.exchange, exchanges):
                found.extend(some)
        over.set()
        for thread in good:
            thread.join()
        return found

    def exchange(self, exchange):
        """Problems of one `requests.Exchange`, of one with the port of gRPC, ("grpc", Exchange), or of one `Call`."""
        if isinstance(exchange, protocols.Call):
            return self._call(exchange)
        if isinstance(exchange, tuple):
            return self._send(exchange[1], self._grpc_address, self._read_all)
        return self._send(exchange, self._address, self._statuses)

    def release(self):
        """Close the connections and end the calls that hang."""
        while self._hanging:
            self._hanging.popleft()()

    def close(self):
        """Let go of everything."""
        self.release()
        self._channel.close()

    # ------------------------------------------------------------------------------------ good requests

    def _be_good(self, found, over):
        """Ask for each image in turn, by each protocol in turn."""
        ways = itertools.cycle((self._rest, self._infer_as_json, self._infer, self._predict, self._model_infer))
        for image, expected in itertools.cycle(zip(self._images, self._expected)):
            way = next(ways)
            if over.is_set():
                return
            self.asked[way.__name__.strip("_")] += 1
            try:
                with self._connected() as connection:  # one that waits for calls of gRPC would be closed after a while
                    answer = way(connection, image)
                if not client.alike(answer, expected, 1e-4):
                    found.append(f"wrong by {way.__name__}: {answer}")
            except (OSError, http.client.HTTPException, AssertionError, grpc.RpcError) as error:
                found.append(f"good request by {way.__name__}: {error!r}")

    def _rest(self, connection, image):
        status, answer = send(connection, "/v1/models/toys:predict", {"instances": [requests.b64(image)]})
        assert status == 200, (status, answer)
        return answer["predictions"][0]

    def _infer_as_json(self, connection, image):
        one = {"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(image).decode()]}
        body = {"inputs": [{**one, "parameters": {"content_type": "base64"}}]}
        status, answer = send(connection, "/v2/models/toys/infer", body)
        assert status == 200, (status, answer)
        return {output["name"]: output["data"] for output in answer["outputs"]}

    def _infer(self, connection, image):
        start, _, body = protocols.infer_images([image]).partition(b"\r\n\r\n")
        fields = dict(line.split(": ") for line in start.decode().splitlines()[2:])
        wanted = body.replace(b'{"inputs"', b'{"parameters": {"binary_data_output": true}, "inputs"', 1)
        size = int(fields["Inference-Header-Content-Length"]) + len(wanted) - len(body)
        connection.request("POST", "/v2/models/toys/infer", wanted, {"Inference-Header-Content-Length": str(size)})
        response = connection.getresponse()
        content, status = response.read(), response.status
        assert status == 200, (status, content[:300])
        place, answer = int(response.headers["Inference-Header-Content-Length"]), {}
        for output in json.loads(content[:place])["outputs"]:
            part = content[place : place + output["parameters"]["binary_data_size"]]
            answer[output["name"]] = elements(part, output["datatype"])
            place += len(part)
        return answer

    def _predict(self, connection, image):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "toys"
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image]))
        content = self._grpc(f"{protocols.PREDICT}Predict", request)
        outputs = predict_pb2.PredictResponse.FromString(content).outputs
        answer = {name: tf.make_ndarray(proto)[0].tolist() for name, proto in outputs.items()}
        return {**answer, "classes": [name.decode() for name in answer["classes"]]}

    def _model_infer(self, connection, image):
        one = {"name": "image_bytes", "datatype": "BYTES", "shape": [1]}
        raw = struct.pack("<I", len(image)) + image
        request = message("ModelInferRequest")(model_name="toys", inputs=[one], raw_input_contents=[raw])
        content = self._grpc(f"{protocols.INFERENCE}ModelInfer", request)
        response = message("ModelInferResponse").FromString(content)
        pairs = zip(response.outputs, response.raw_output_contents)
        return {output.name: elements(part, output.datatype) for output, part in pairs}

    def _grpc(self, method, request):
        return self._channel.unary_unary(method)(request.SerializeToString(), timeout=60)

    def _connected(self):
        return contextlib.closing(http.client.HTTPConnection(*self._address, timeout=60))

    # ------------------------------------------------------------------------------------ hostile ones

    def _send(self, exchange, address, read):
        connection = socket.create_connection(address, timeout=60)
        try:
            connection.sendall(exchange.sent)
            if exchange.end == "hang":
                return self._hang(connection.close)
            if exchange.end == "abort":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                return []
            connection.shutdown(socket.SHUT_WR)
            statuses = list(read(connection, exchange.sent))
            self.statuses.update(statuses)
            connection.close()
            if not statuses and exchange.sent.strip():
                return [f"no answer to {exchange.sent[:300]}"]
            return []
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            if address == self._grpc_address and isinstance(error, ConnectionError):
                return []  # gRPC resets what is no HTTP/2
            return [f"{error!r} to {exchange.sent[:300]}"]

    def _hang(self, let_go):
        self._hanging.append(let_go)
        if len(self._hanging) > HANGING:
            self._hanging.popleft()()
        return []

    @staticmethod
    def _read_all(connection, sent):
        """Nothing that is looked at, until the connection is closed."""
        while connection.recv(65536):
            pass
        yield "closed"

    def _statuses(self, connection, sent):
        """Those of all answers until the connection is closed; ValueError for one that may not be."""
        with connection.makefile("rb") as received:
            while received.peek(1):
                line = received.readline()
                status, fields = int(line.split()[1]), http.client.parse_headers(received)
                if status == 100:
                    continue
                left = len(received.peek(1)) and int(fields.get("content-length", 0))
                is_head = received.peek(5)[:5] in (b"", b"HTTP/")  # nothing follows the answer to HEAD
                body = b"" if is_head else received.read(left)
                if len(body) != left and not is_head:
                    raise ValueError(f"an answer was cut off: {line} {fields} {body}")
                full = status == 503 and any(reason in body.decode() for reason in FULL)
                if status >= 500 and not full:
                    raise ValueError(f"{line} {body[:200]}")
                yield status

    def _call(self, call):
        if call.end == "hang":
            over = threading.Event()
            waiting = self._channel.stream_unary(call.method).future(never(over))
            return self._hang(lambda: (over.set(), waiting.cancel()))
        answer = self._channel.unary_unary(call.method).future(call.content, timeout=60)
        if call.end == "cancel":
            answer.cancel()
            return []
        error = answer.exception()
        if error is None:
            self.statuses["OK"] += 1
            return []
        code, text = error.code(), error.details()
        self.statuses[code.name] += 1
        full = code is grpc.StatusCode.UNAVAILABLE and any(reason in text for reason in FULL)
        return [] if code in REFUSALS or full else [f"{code} {text} to {call.method} {call.content[:300]}"]


def never(over):
    """A message that does not come."""
    over.wait(60)
    yield from ()


def elements(content, datatype):
    """The elements of an output for one image from their bytes."""
    if datatype != "BYTES":
        return np.frombuffer(content, {"FP32": "<f4", "INT32": "<i4"}[datatype]).tolist()
    found = []
    while content:
        (length,) = struct.unpack_from("<I", content)
        found.append(content[4 : 4 + length].decode())
        content = content[4 + length :]
    return found
