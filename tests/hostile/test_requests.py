"""Hostile requests among good ones: nothing fails on the server's side, and good requests get their right answers."""

import collections
import contextlib
import http.client
import itertools
import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_vit.export.devserver import app
from keras_vit.export.devserver.engine import Engine
from keras_vit.export.devserver.servables import Servables
from keras_vit.export.serving import client
from tests.export.running import send, start_ours
from tests.hostile import requests
from tests.hostile.many import drawn

CLIENTS = 8  # half of them hostile
HANGING = 16  # connections that hostile clients keep open
MEGABYTE = 2**20
FULL = ("try again", "queue")  # in a 503, which is said where more is asked at once than there is room for


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The toys, exported without the checks."""
    from keras_vit.export.model.source import open_source
    from keras_vit.export.serving import saved_model
    from tests.export.toys import toy_model, write_run

    folder = tmp_path_factory.mktemp("bundle")
    run = write_run(tmp_path_factory.mktemp("run"), toy_model(), number=4)
    saved_model.save(open_source(run), folder / "models/toys/1", top_k=3)
    config = 'model_config_list { config { name: "toys" base_path: "/models/toys" } }'
    (folder / "models.config").write_text(config)
    return folder, [path.read_bytes() for path in sorted((run / "held_out").iterdir())]


@contextlib.contextmanager
def in_a_thread(folder):
    """The address of a server in this process."""
    servables = Servables(folder)
    servables.refresh()
    with app.listen("127.0.0.1", 0) as listening:
        server = app.http_server(app.application(Engine(servables)), app.Patience(5, 1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()
            servables.close()


class Storm:
    """Hostile exchanges and good requests, by several clients at once.

    Args:
        address: the server's.
        images: of good requests, and what hostile ones are made of.
    """

    def __init__(self, address, images):
        self._address, self._images = address, images
        self._hanging, self.statuses, self.asked = collections.deque(), collections.Counter(), 0
        with self._connected() as connection:
            self._expected = [self._ask(connection, image) for image in images]
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

    def _be_good(self, found, over):
        """Ask for each image in turn."""
        with self._connected() as connection:
            for image, expected in itertools.cycle(zip(self._images, self._expected)):
                if over.is_set():
                    return
                self.asked += 1
                try:
                    answer = self._ask(connection, image)
                    if not client.alike(answer, expected, 1e-4):
                        found.append(f"wrong: {answer}")
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    found.append(f"good request: {error!r}")
                    connection.close()

    def exchange(self, exchange):
        """Problems of one exchange."""
        connection = socket.create_connection(self._address, timeout=30)
        try:
            connection.sendall(exchange.sent)
            if exchange.end == "hang":
                return self._hang(connection)
            if exchange.end == "abort":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                return []
            connection.shutdown(socket.SHUT_WR)
            statuses = list(self._statuses(connection, exchange.sent))
            self.statuses.update(statuses)
            connection.close()
            if not statuses and exchange.sent.strip():
                return [f"no answer to {exchange.sent[:300]}"]
            return []
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            return [f"{error!r} to {exchange.sent[:300]}"]

    def release(self):
        """Close the connections that hang."""
        while self._hanging:
            self._hanging.popleft().close()

    def _hang(self, connection):
        self._hanging.append(connection)
        if len(self._hanging) > HANGING:
            self._hanging.popleft().close()
        return []

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

    def _connected(self):
        return contextlib.closing(http.client.HTTPConnection(*self._address, timeout=30))

    def _ask(self, connection, image):
        status, answer = send(connection, "/v1/models/toys:predict", {"instances": [requests.b64(image)]})
        assert status == 200, (status, answer)
        return answer["predictions"][0]


def test_hostile_requests_among_good_ones(bundle, caplog):
    folder, images = bundle
    with in_a_thread(folder) as address:
        storm = Storm(address, images)
        assert storm.problems(drawn(requests.exchanges(images), 120)) == []
        storm.release()
    assert {200, 400} <= set(storm.statuses)
    assert not caplog.records


@pytest.fixture
def process(bundle, tmp_path):
    with open(tmp_path / "log", "w") as log:
        running = start_ours(bundle[0], log)
        yield running, tmp_path / "log"
        running.process.kill()
        running.process.wait()


def address_of(running):
    host, port = running.url.removeprefix("http://").split(":")
    return host, int(port)


@pytest.mark.slow
def test_ten_thousand_hostile_requests_then_sigterm_with_clients_that_hang(bundle, process):
    running, log = process
    images = bundle[1]
    storm = Storm(address_of(running), images)
    exchanges = drawn(requests.exchanges(images), 10_000)
    assert storm.problems(exchanges[:1000]) == []
    before = running.memory()
    assert storm.problems(exchanges) == []
    grown = (running.memory() - before) / MEGABYTE
    print(
        f"{storm.asked} good requests, {storm.statuses}, {before / MEGABYTE:.0f} MiB, then {grown:+.0f} MiB"
    )  # pytest -rP
    assert grown < 100 and "Traceback" not in log.read_text()

    storm.release()
    body = requests.predict(instances=[requests.b64(image) for image in images] * 8)
    for content in (b"", b"G", requests.PREDICT, body[:-1], requests.STATUS, body, body, body):
        storm.exchange(requests.Exchange(content, "hang"))
    began = time.monotonic()
    running.process.terminate()
    assert running.process.wait(15) in (0, -15)
    print(f"ended after {time.monotonic() - began:.1f} s")
    storm.release()


@pytest.mark.slow
def test_large_bodies_leave_no_memory_behind(bundle, process):
    """Bodies of up to 20 MB, from 8 clients: an eighth of them at once, and later again no more than that."""
    running, _ = process
    noise = "QUJD" * (20 * MEGABYTE // 4 - 10)
    sizes = (1000, MEGABYTE, 5 * MEGABYTE, len(noise))
    bodies = [json.dumps({"instances": [{"b64": noise[:size]}]}).encode() for size in sizes]
    bodies += [bodies[-1][:-1], json.dumps({"instances": [[1.5, 2.5] * MEGABYTE]}).encode()]

    def ask(number):
        with running.connect() as connection:
            for place in range(number):
                expected = 200 if place % len(bodies) < len(sizes) else 400
                assert send(connection, "/v1/models/toys:predict", bodies[place % len(bodies)])[0] == expected

    def memory_after(number):
        threads = [threading.Thread(target=ask, args=(number // CLIENTS,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(2)  # polls, after which free memory is given back
        return running.memory() / MEGABYTE

    first, then = memory_after(500), memory_after(1500)
    print(f"{first:.0f} MiB after 500 requests, {then:.0f} after 1,500 more")  # pytest -rP
    assert then < first + 50
