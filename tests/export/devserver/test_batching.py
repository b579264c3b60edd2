"""Batches: their sizes, their order, and that requests do not affect each other."""

import threading
import time
import weakref
from concurrent.futures import wait

import numpy as np
import pytest

from keras_vit.export.devserver.batching import Batcher, QueueFull
from keras_vit.export.serving.serving_config import Batching


class Double:
    """Doubles x; records the sizes of its batches, waits at a gate, and fails where an x is 13."""

    def __init__(self, gate_open=True):
        self.sizes, self.gate = [], threading.Event()
        if gate_open:
            self.gate.set()

    def __call__(self, inputs):
        self.gate.wait()
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] == 13).any():
            raise ArithmeticError("13")
        return {"y": 2 * inputs["x"], "text": inputs["x"].astype(str).astype(object)}


@pytest.fixture
def batcher():
    made = []

    def make(run, **options):
        made.append(Batcher(run, Batching(**{"sizes": (1, 4, 8), "threads": 1, "timeout": 0.0, **options})))
        return made[-1]

    yield make
    for one in made:
        one.close()


def submit(batcher, *numbers):
    return batcher.submit({"x": np.array(numbers)})


def result(future):
    return future.result(timeout=20)["y"].tolist()


def test_a_batch_that_ran_is_not_kept_until_the_next(batcher):
    images = np.array([1, 2])
    kept, sent = weakref.ref(images), batcher(Double()).submit({"x": images})
    del images
    assert result(sent) == [2, 4]
    end = time.monotonic() + 10
    while kept() is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert kept() is None


def taken(batcher):
    """A request that is running, at a closed gate: further requests wait together."""
    future = submit(batcher, 0)
    while batcher.waiting:
        threading.Event().wait(0.001)
    return future


def test_requests_are_run_together(batcher):
    run = Double(gate_open=False)
    one = batcher(run)
    taken(one)
    futures = [submit(one, 1, 2), submit(one, 3), submit(one, 4, 5, 6)]
    run.gate.set()
    assert [result(future) for future in futures] == [[2, 4], [6], [8, 10, 12]]
    assert run.sizes == [1, 8]  # six, padded to the next allowed size
    assert futures[1].result()["text"].tolist() == ["3"]


def test_a_full_batch_does_not_wait(batcher):
    run = Double()
    one = batcher(run, timeout=1000)
    futures = [submit(one, *range(8)), submit(one, *range(5)), submit(one, *range(3))]
    assert [len(result(future)) for future in futures] == [8, 5, 3]
    assert run.sizes == [8, 8]


def test_a_request_that_does_not_fit_waits_for_the_next_batch(batcher):
    run = Double(gate_open=False)
    one = batcher(run, timeout=0.01)
    futures = [submit(one, 0), *(submit(one, *range(n)) for n in (5, 4, 3, 1))]
    run.gate.set()
    wait(futures, timeout=20)
    assert [len(result(future)) for future in futures] == [1, 5, 4, 3, 1]
    assert sum(run.sizes) >= 14 and set(run.sizes) <= {1, 4, 8}


def test_a_request_that_fails_does_not_fail_the_others(batcher):
    run = Double(gate_open=False)
    one = batcher(run)
    taken(one)
    good, bad, other = submit(one, 1), submit(one, 5, 13), submit(one, 2)
    run.gate.set()
    assert result(good) == [2] and result(other) == [4]
    with pytest.raises(ArithmeticError):
        bad.result(timeout=20)
    assert run.sizes == [1, 4, 1, 4, 1]


def test_requests_that_cannot_be_batched(batcher):
    one = batcher(Double())
    with pytest.raises(ValueError, match="Task size 9 is larger than maximum input batch size 8"):
        submit(one, *range(9))
    with pytest.raises(ValueError, match="equal 0th-dimension size"):
        one.submit({"x": np.zeros(2), "y": np.zeros(3)})


def test_a_request_without_rows_is_run_at_once(batcher):
    run = Double()
    assert result(submit(batcher(run, timeout=1000))) == [] and run.sizes == [0]


def test_the_queue_is_bounded(batcher):
    run = Double(gate_open=False)
    one = batcher(run, queue=2)
    futures = [taken(one), submit(one, *range(8)), submit(one, *range(8))]
    with pytest.raises(QueueFull):
        submit(one, 1)
    run.gate.set()
    assert [len(result(future)) for future in futures] == [1, 8, 8]
    assert result(submit(one, 1)) == [2]


def test_a_cancelled_request_is_not_run(batcher):
    run = Double(gate_open=False)
    one = batcher(run)
    first = taken(one)
    second = submit(one, 2)
    assert second.cancel()
    run.gate.set()
    assert result(first) == [0] and result(submit(one, 3)) == [6]
    assert run.sizes == [1, 1]


def test_closing_runs_waiting_and_late_requests(batcher):
    run = Double()
    one = batcher(run, timeout=1000)
    future = submit(one, 1)
    one.close()
    assert result(future) == [2] and result(submit(one, 3)) == [6]


def test_many_threads(batcher):
    run = Double()
    one = batcher(run, threads=4, timeout=0.001, queue=400)  # 3,200 rows may wait: more than are sent
    futures = {}

    def work(start):
        for number in range(20 + start, 2020, 8):
            futures[number] = submit(one, *range(number, number + number % 4))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(futures) == 2000
    for number, future in futures.items():
        assert result(future) == [2 * x for x in range(number, number + number % 4)]
