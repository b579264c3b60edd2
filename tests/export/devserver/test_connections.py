"""Connections of clients that are slow, half gone or hostile; a small application answers, in a thread."""

import asyncio
import contextlib
import functools
import json
import socket
import threading
import time

import pytest
import uvicorn

from keras_vit.export.devserver import connections
from keras_vit.export.devserver.connections import Connection, Server

READ_SECONDS = 1
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(body, path=b"/", more=b""):
    return POST.replace(b"/ ", path + b" ", 1) + b"Content-Length: %d\r\n%s\r\n" % (len(body), more) + body


async def application(scope, receive, send):
    """The number of bytes of the body; /slow and /slower take their time, /refuse answers before the body is there."""
    size, more = 0, scope["path"] != "/refuse"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    await asyncio.sleep({"/slow": 0.3, "/slower": 1.5 * READ_SECONDS}.get(scope["path"], 0))
    if scope["path"] == "/forever":
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
    body = b"%d " % size + b"x" * (10**7 if scope["path"] == "/large" else 0)
    half = b"yes" if scope["state"].get(connections.HALF_CLOSED) else b"no"
    headers = [(b"content-length", b"%d" % len(body)), (b"half", half)]
    await send(
        {"type": "http.response.start", "status": 503 if scope["path"] == "/forever" else 200, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})


class Running:
    """The server in a thread."""

    def __init__(self, grace=5):
        self.listening = socket.create_server(("127.0.0.1", 0))
        http = functools.partial(Connection, read_seconds=READ_SECONDS)
        options = {
            "loop": "asyncio",
            "ws": "none",
            "lifespan": "off",
            "log_config": None,
            "log_level": "critical",
            "access_log": False,
        }
        config = uvicorn.Config(application, http=http, timeout_graceful_shutdown=grace, **options)
        self.server, self.address = Server(config), self.listening.getsockname()
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})
        self.thread.start()

    def stop(self):
        """Seconds that it took."""
        began = time.monotonic()
        self.server.should_exit = True
        self.thread.join()
        return time.monotonic() - began

    def connect(self, content=b"", half_close=False):
        client = socket.create_connection(self.address, timeout=20)
        client.sendall(content)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return client


@pytest.fixture(scope="module")
def running():
    running = Running()
    yield running
    running.stop()


def answers(client):
    """(statuses, the last body) of all that a client gets until the server closes the connection."""
    received = b""
    with client:
        while part := client.recv(2**16):
            received += part
    return [int(one[:3]) for one in received.split(b"HTTP/1.1 ")[1:]], received.rpartition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "sent, statuses, body",
    [
        (GET, [200], b"0 "),
        (post(b"12345"), [200], b"5 "),
        (post(b"x" * 10**6), [200], b"1000000 "),
        (post(b"12345", b"/slow"), [200], b"5 "),
        (CHUNKED + b"5\r\n12345\r\n0\r\n\r\n", [200], b"5 "),
        (GET + post(b"12345", b"/slow") + GET + post(b"1"), [200] * 4, b"1 "),
        (GET.replace(b"1.1", b"1.0"), [200], b"0 "),
        (post(b"1", more=b"Connection: close\r\n"), [200], b"1 "),
        (b"", [], b""),
    ],
)
def test_complete_requests_before_a_half_close_are_answered(running, sent, statuses, body):
    assert answers(running.connect(sent, half_close=True)) == (statuses, body)


@pytest.mark.parametrize("sent", [POST, b"G", post(b"12345")[:-1], CHUNKED, CHUNKED + b"5\r\n123", CHUNKED + b"0\r\n"])
@pytest.mark.parametrize("before", [[], [GET], [post(b"12", b"/slow")]])
def test_incomplete_requests_before_a_half_close_are_refused(running, sent, before):
    statuses, body = answers(running.connect(b"".join(before) + sent, half_close=True))
    assert statuses == [200] * len(before) + [400]
    assert json.loads(body) == {"error": "The request ends before it is complete."}


def test_an_application_can_see_that_its_client_sends_no_more(running):
    for half_close in (True, False):
        with running.connect(post(b"1", b"/slow"), half_close) as client:
            assert (b"half: yes" in client.recv(2**16)) == half_close


def test_requests_that_stall_get_408(running):
    stalling = [POST, b"G", post(b"12345")[:-1], CHUNKED, CHUNKED + b"5\r\n123", GET + POST]
    clients, began = [running.connect(sent) for sent in stalling], time.monotonic()
    for client, sent in zip(clients, stalling):
        statuses, body = answers(client)
        assert statuses == [200] * sent.count(b"GET") + [408]
        assert json.loads(body) == {"error": "Too little of the request came in 1 seconds."}
    assert READ_SECONDS - 0.5 < time.monotonic() - began < 10


def test_a_request_that_trickles_in_gets_408_and_one_that_flows_is_read(running):
    start = post(b"x" * 5000)[:-5000]
    with running.connect(start) as slow, running.connect(start) as quick:
        for _ in range(20):  # 2 seconds
            quick.sendall(b"x" * 250)
            with contextlib.suppress(OSError):
                slow.sendall(b"x")
            time.sleep(0.1)
        assert quick.recv(100).startswith(b"HTTP/1.1 200")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_idle_connections_are_closed_without_a_word(running):
    assert answers(running.connect()) == ([], b"")


def test_a_slow_answer_is_waited_for_longer_than_a_request(running):
    with running.connect(post(b"1", b"/slower")) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00" * 50,
        b"\0" * 10**6,
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10**5 + b"\r\n",
        b"GET /" + b"a" * 10**6 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1e3\r\n\r\n",
        POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"5\r\n12345xx0\r\n\r\n",
        CHUNKED + b"f" * 50 + b"\r\n",
    ],
)
def test_what_is_no_http_gets_400_in_the_form_of_all_errors(running, sent):
    client = running.connect()
    with contextlib.suppress(OSError):  # the server may stop reading
        client.sendall(sent)
    statuses, body = answers(client)
    assert statuses == [400] and set(json.loads(body)) == {"error"}


def test_the_answer_arrives_although_the_client_sends_on(running):
    """20 MB that nobody reads: without taking them up, the system resets the connection, the answer with it."""
    for more in (b"", b"Connection: close\r\n"):
        client = running.connect(post(b"x" * 20_000_000, b"/refuse", more), half_close=True)
        assert answers(client) == ([200], b"0 ")


def test_bad_bytes_after_an_early_answer_close_the_connection(running):
    with running.connect(CHUNKED.replace(b"/ ", b"/refuse ", 1)) as client:
        received = client.recv(2**16)
        while not received.endswith(b"\r\n\r\n0 "):
            received += client.recv(2**16)
        client.sendall(b"zz\r\n")
        assert client.recv(2**16) == b""


def test_a_client_that_does_not_read_is_cut_off(running):
    with running.connect(post(b"1", b"/large", b"Connection: close\r\n")):
        assert reached(lambda: running.server.server_state.connections)
        assert reached(lambda: not running.server.server_state.connections, 10)


def reached(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_the_server_ends_although_clients_hang():
    running = Running(grace=0.4)
    hanging = [running.connect(content) for content in (b"", b"G", POST, GET, post(b"123", b"/forever"))]
    assert hanging[3].recv(100).startswith(b"HTTP/1.1 200")
    assert reached(lambda: len(running.server.server_state.connections) == 5)
    assert running.stop() < 5
    assert answers(hanging[4])[0] == [503]
    for client in hanging[:4]:
        client.close()


def test_requests_that_are_in_time_are_answered_before_the_end():
    running = Running(grace=5)
    client = running.connect(post(b"123", b"/slow"))
    assert reached(lambda: running.server.server_state.tasks)
    assert running.stop() < 4
    assert answers(client) == ([200], b"3 ")
