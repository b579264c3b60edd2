"""gRPC beside HTTP: a port of its own, whose methods answer from the same models, batches and limits.

What a client sends does not fill the memory: a message has at most as many bytes as a body of HTTP, READING messages
are read at a time, and all that are read count as in flight together with HTTP's bodies. A call whose message is not
complete after the patience's time is ended. For that, all methods read their one message themselves, as if it were the
first of a stream: on the wire that is the same.
"""

import asyncio
import logging
import threading

import grpc
from google.protobuf.message import DecodeError

from keras_vit.export.devserver.rest import RestError

LOG = logging.getLogger(__name__)
READING = 32  # messages that are read at a time; those of further calls wait in their clients
CALLS = 1_000  # that are not answered; further ones are refused
IDLE_SECONDS = 60  # after which a connection without calls is closed; clients open it again
LONGEST = 1_000  # characters of a status' text, which clients read as a header
CODES = {  # of a `RestError`'s status
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class Server:
    """Answers calls, in an event loop in a thread of its own, from when it is made until `close`.

    Args:
        engine: `Engine`.
        methods: {"/package.Service/Method": a coroutine function from a message's bytes to those of the answer}.
        host: address to listen on.
        port: 0 for a free one.
        patience: `app.Patience`.

    Attributes:
        port: that it listens on.

    Raises:
        OSError: if the port is in use.
    """

    def __init__(self, engine, methods, host, port, patience):
        self._engine, self._methods, self._patience = engine, methods, patience
        self._loop, self._ending = asyncio.new_event_loop(), None
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc", daemon=True)
        self._thread.start()
        try:
            self.port = self._wait(self._start(host, port))
        except RuntimeError as error:
            self._stop_loop()
            raise OSError(f"Cannot listen on {host}:{port} for gRPC; it may be in use.") from error

    def begin_to_end(self):
        """Take no more calls; those that are not answered have the patience's grace. Does not wait."""
        if self._ending is None:
            self._ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    def close(self):
        """End, and wait for it."""
        self.begin_to_end()
        self._ending.result()
        if not self._loop.is_closed():
            self._stop_loop()

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _stop_loop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self, host, port):
        self._reading = asyncio.Semaphore(READING)
        self._server = grpc.aio.server(options=self._options(), maximum_concurrent_rpcs=CALLS)
        self._server.add_generic_rpc_handlers([Handlers(self._methods, self._answer)])
        port = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await self._server.start()
        return port

    async def _end(self):
        await self._server.stop(self._patience.grace)
        calls = asyncio.all_tasks() - {asyncio.current_task()}  # cancelled ones
        if calls:
            await asyncio.wait(calls, timeout=1)

    def _options(self):
        milliseconds = round(1000 * self._patience.read)
        return [
            ("grpc.so_reuseport", 0),  # a port in use is an error
            ("grpc.max_receive_message_length", self._engine.max_request),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_connection_idle_ms", 1000 * IDLE_SECONDS),
            ("grpc.server_handshake_timeout_ms", milliseconds),
        ]

    async def _answer(self, method, context):
        """The bytes of the answer to a call; ends it with a status otherwise."""
        try:
            content = await self._read(context)
            with self._engine.intake.hold(len(content)):
                return await method(content)
        except RestError as error:
            await context.abort(CODES[error.status], str(error)[:LONGEST])
        except TimeoutError:
            seconds = f"{self._patience.read:g}"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"No complete message came in {seconds} seconds.")
        except Exception as error:
            LOG.exception("a call failed")
            await context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"[:LONGEST])

    async def _read(self, context):
        """The message of a call."""
        async with self._reading, asyncio.timeout(self._patience.read):
            content = await context.read()
        if content is grpc.aio.EOF:
            raise RestError(400, "The call has no message.")
        return content


class Handlers(grpc.GenericRpcHandler):
    """Finds the methods by their names.

    Args:
        methods: {name: method}.
        answer: (method, context) -> the bytes of the answer.
    """

    def __init__(self, methods, answer):
        self._handlers = {name: self._handler(method, answer) for name, method in methods.items()}

    def service(self, handler_call_details):
        """The handler of a call; None, which gRPC answers UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)

    @staticmethod
    def _handler(method, answer):
        async def handle(messages, context):
            return await answer(method, context)

        return grpc.stream_unary_rpc_method_handler(handle)


def parse(message_type, content):
    """A message from its bytes; `RestError` if they are none."""
    try:
        return message_type.FromString(content)
    except DecodeError as error:
        raise RestError(400, f"The message is no {message_type.DESCRIPTOR.name}.") from error
