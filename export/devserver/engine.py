"""What all protocols share: the loaded models, limits on the memory that requests take, and the threads that parse."""

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from keras_vit.export.devserver import memory
from keras_vit.export.devserver.batching import QueueFull
from keras_vit.export.devserver.rest import RestError

MEGABYTE = 2**20
IN_FLIGHT = 8  # bodies of the largest size that may be in flight
LARGE = MEGABYTE  # bytes of a body; as JSON values it may take thirty times as many, so such bodies are parsed in turn


class Engine:
    """Runs requests on the loaded models.

    Args:
        servables: `Servables`.
        max_request: bytes of a request's body, at most.
    """

    def __init__(self, servables, max_request=32 * MEGABYTE):
        self.servables, self.max_request = servables, max_request
        self.intake = Intake(max_request, IN_FLIGHT * max_request)
        self._workers = ThreadPoolExecutor(os.cpu_count(), "requests")  # parse and format
        self._one_by_one = ThreadPoolExecutor(1, "requests-large")  # parses large bodies

    async def run(self, size, submit):
        """Parse a body, queue it, and wait for its outputs.

        Args:
            size: bytes of the body.
            submit: called in a thread; parses the body and returns (the `Future` that `Servable.submit` returns, what
                else the response needs).

        Returns:
            ({name: array}, what else the response needs).

        Raises:
            RestError: if the request is malformed (400), or too many are waiting (503).
        """
        try:
            threads = self._one_by_one if size > LARGE else self._workers
            future, more = await asyncio.get_running_loop().run_in_executor(threads, _without_cycles, submit)
            return await asyncio.wrap_future(future), more
        except QueueFull as error:
            raise RestError(503, str(error)) from error
        except ValueError as error:
            raise RestError(400, str(error)) from error

    async def format(self, function, *arguments):
        """The result of a function, from a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)


def _without_cycles(submit):
    with memory.without_cycles():
        return submit()


class Intake:
    """Takes the bodies of requests within limits; from any thread.

    Args:
        largest: bytes of a body, at most.
        together: bytes of all bodies in flight, at most.
    """

    def __init__(self, largest, together):
        self._largest, self._together, self._held = largest, together, 0
        self._lock = threading.Lock()

    @contextlib.asynccontextmanager
    async def body(self, request):
        """The body of an HTTP request, in flight until the block ends; `RestError` beyond the limits."""
        chunks, size = [], 0
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit():
            self._refuse(int(announced), int(announced))
        try:
            async for chunk in request.stream():
                self._take(size + len(chunk), len(chunk))
                chunks.append(chunk)
                size += len(chunk)
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._give_back(size)

    @contextlib.contextmanager
    def hold(self, size):
        """Count a body of `size` bytes that is read already as in flight; `RestError` beyond the limits."""
        self._take(size, size)
        try:
            yield
        finally:
            self._give_back(size)

    def _take(self, size, more):
        with self._lock:
            self._refuse(size, more)
            self._held += more

    def _give_back(self, size):
        with self._lock:
            self._held -= size

    def _refuse(self, size, more):
        if size > self._largest:
            raise RestError(413, f"Request of {size} bytes or more; at most {self._largest} are read.")
        if self._held + more > self._together:
            raise RestError(503, "The memory for requests in flight is exhausted; try again.")
