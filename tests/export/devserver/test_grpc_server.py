"""Calls over loopback: messages, limits, slow clients and the end; small methods answer, no model runs here."""

import asyncio
import contextlib
import socket
import threading
import time

import grpc
import pytest

from keras_vit.export.devserver import grpc_server
from keras_vit.export.devserver.app import Patience
from keras_vit.export.devserver.engine import Engine
from keras_vit.export.devserver.rest import RestError

LARGEST = 1000


class Methods:
    """Reverses messages, fails as a message says, or waits until told."""

    def __init__(self):
        self.go_on = threading.Event()

    async def reverse(self, content):
        return content[::-1]

    async def fail(self, content):
        if content.isdigit():
            raise RestError(int(content), "a reason\n" + "\u00fc" * 5000)
        raise KeyError(content.decode())

    async def wait(self, content):
        while not self.go_on.is_set():
            await asyncio.sleep(0.01)
        return b"done"

    def named(self):
        return {"/a.B/Reverse": self.reverse, "/a.B/Fail": self.fail, "/a.B/Wait": self.wait}


@contextlib.contextmanager
def served(read=20, grace=5):
    """(server, methods, a channel to it)."""
    methods = Methods()
    patience = Patience(read, grace)
    server = grpc_server.Server(Engine(None, LARGEST), methods.named(), "127.0.0.1", 0, patience)
    with contextlib.closing(server), grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield server, methods, channel


def status(call, *arguments):
    """The status of a call that fails, and its text."""
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, timeout=10)
    return error.value.code(), error.value.details()


def test_answers_and_statuses(caplog):
    with served() as (_, _, channel):
        assert channel.unary_unary("/a.B/Reverse")(b"abc") == b"cba"
        assert channel.unary_unary("/a.B/Reverse")(b"") == b""
        assert status(channel.unary_unary("/a.B/None"), b"")[0] is grpc.StatusCode.UNIMPLEMENTED
        fail = channel.unary_unary("/a.B/Fail")
        for number, code in grpc_server.CODES.items():
            assert status(fail, str(number).encode()) == (code, "a reason\n" + "\u00fc" * 991)
        assert not caplog.records
        assert status(fail, b"x") == (grpc.StatusCode.INTERNAL, "KeyError: 'x'")
        assert "a call failed" in caplog.text


def test_messages_are_bounded_singly_and_together():
    with served() as (server, methods, channel):
        assert len(channel.unary_unary("/a.B/Reverse")(b"x" * LARGEST)) == LARGEST
        assert (
            status(channel.unary_unary("/a.B/Reverse"), b"x" * (LARGEST + 1))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        )
        waiting = [channel.unary_unary("/a.B/Wait").future(b"x" * LARGEST) for _ in range(8)]
        reverse = channel.unary_unary("/a.B/Reverse")
        end = time.monotonic() + 10
        while not (refused := refusal(reverse)) and time.monotonic() < end:
            time.sleep(0.01)
        assert refused == (grpc.StatusCode.UNAVAILABLE, "The memory for requests in flight is exhausted; try again.")
        methods.go_on.set()
        assert [call.result(10) for call in waiting] == [b"done"] * 8
        assert reverse(b"ab") == b"ba"


def refusal(call):
    """The status of a call that is refused, else None."""
    try:
        call(b"ab", timeout=10)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return None


def test_calls_whose_message_does_not_come():
    with served(read=0.2) as (_, _, channel):
        stream = channel.stream_unary("/a.B/Reverse")
        assert status(stream, iter(())) == (grpc.StatusCode.INVALID_ARGUMENT, "The call has no message.")
        over = threading.Event()

        def never():
            over.wait(10)
            yield b"x"

        hanging = [stream.future(never()) for _ in range(2 * grpc_server.READING)]
        assert channel.unary_unary("/a.B/Reverse")(b"abc", timeout=10) == b"cba"  # in its turn
        codes = {call.exception(10).code() for call in hanging}
        over.set()
        assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert "No complete message came in 0.2 seconds." in {call.details() for call in hanging}


def test_calls_beyond_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(grpc_server, "CALLS", 2)
    with served() as (_, methods, channel):
        calls = [channel.unary_unary("/a.B/Wait").future(b"x") for _ in range(3)]
        refused = first_done(calls)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        methods.go_on.set()
        assert [call.result(10) for call in calls if call is not refused] == [b"done"] * 2


def first_done(calls):
    """The first of the calls that is answered."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for call in calls:
            if call.done():
                return call
        time.sleep(0.01)
    raise AssertionError("none is answered")


def test_bytes_that_are_no_http_2():
    with served() as (server, _, channel):
        for content in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100, b"\0" * 100):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
                connection.sendall(content)
        assert channel.unary_unary("/a.B/Reverse")(b"abc", timeout=10) == b"cba"


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_end_waits_for_calls_but_no_longer_than_the_grace(is_answered):
    with served(grace=0.3) as (server, methods, channel):
        call = channel.unary_unary("/a.B/Wait").future(b"x")
        channel.unary_unary("/a.B/Reverse")(b"abc")  # behind it
        server.begin_to_end()
        if is_answered:
            methods.go_on.set()
            assert call.result(10) == b"done"
        else:
            assert call.exception(10).code() is grpc.StatusCode.UNAVAILABLE
        server.close()


def test_a_port_in_use():
    with served() as (server, methods, _):
        with pytest.raises(OSError, match=f"Cannot listen on 127.0.0.1:{server.port} for gRPC"):
            grpc_server.Server(Engine(None), methods.named(), "127.0.0.1", server.port, Patience())
