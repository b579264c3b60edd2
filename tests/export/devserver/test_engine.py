"""Bodies are bounded, singly and together; what goes wrong in parsing and queueing becomes a status."""

import asyncio
import contextlib
import time
from concurrent.futures import Future

import pytest

from keras_vit.export.devserver.batching import QueueFull
from keras_vit.export.devserver.engine import LARGE, Engine, Intake
from keras_vit.export.devserver.rest import RestError


def raising(error):
    def submit():
        raise error

    return submit


def answer(value):
    """A future that has its result."""
    future = Future()
    future.set_result(value)
    return future


def test_outputs_and_what_else_the_response_needs():
    engine = Engine(None)
    assert asyncio.run(engine.run(10, lambda: (answer({"a": 1}), "more"))) == ({"a": 1}, "more")
    assert asyncio.run(engine.format(divmod, 7, 2)) == (3, 1)


@pytest.mark.parametrize(
    "error, status, problem",
    [
        (QueueFull("The queue is full"), 503, "The queue is full"),
        (ValueError("Task size 33 is larger"), 400, "Task size 33"),
        (RestError(404, "Servable not found"), 404, "Servable not found"),
    ],
)
def test_what_a_parser_raises(error, status, problem):
    with pytest.raises(RestError, match=problem) as caught:
        asyncio.run(Engine(None).run(LARGE + 1, raising(error)))
    assert caught.value.status == status


def test_large_bodies_are_parsed_in_turn():
    running, most = [], []

    def submit():
        running.append(1)
        time.sleep(0.002)
        most.append(len(running))
        running.pop()
        return answer({}), None

    async def several():
        engine = Engine(None)
        await asyncio.gather(*(engine.run(LARGE + 1, submit) for _ in range(20)))

    asyncio.run(several())
    assert len(most) == 20 and max(most) == 1


class Request:
    """What `Intake` reads a body from."""

    def __init__(self, parts, length=None):
        self._parts, self.headers = parts, {} if length is None else {"content-length": str(length)}

    async def stream(self):
        for part in self._parts:
            yield part


def run(coroutine):
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        raise AssertionError("it waits for something")


def test_bodies_are_bounded_singly_and_together():
    intake = Intake(10, 16)

    async def scenario():
        async with intake.body(Request([b"12345", b"67890"])) as body:
            assert body == b"1234567890"
            for request in (Request([b"123", b"4567"]), Request([], 9)):
                with pytest.raises(RestError, match="try again") as error:
                    async with intake.body(request):
                        """Not reached."""
                assert error.value.status == 503
            async with intake.body(Request([b"123456"])) as other:
                assert other == b"123456"
        for request in (Request([b"123456", b"78901"]), Request([], 11)):
            with pytest.raises(RestError, match="at most 10") as error:
                async with intake.body(request):
                    """Not reached."""
            assert error.value.status == 413
        async with intake.body(Request([b"1234567890"])) as body:
            assert len(body) == 10

    run(scenario())


def test_messages_that_are_read_already_count_too():
    intake = Intake(10, 16)
    for size, status in ((11, 413), (7, 503)):
        with intake.hold(10), pytest.raises(RestError) as error:
            with intake.hold(size):
                """Not reached."""
        assert error.value.status == status
    for _ in range(3):  # what was held or refused is free again
        with intake.hold(10), intake.hold(6):
            """Both are taken."""
