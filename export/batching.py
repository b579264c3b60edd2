"""Requests that wait become batches, as TF Serving makes them: of allowed sizes, after a short wait for company."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np


class QueueFull(Exception):
    """So many requests wait that another one is turned away."""


@dataclass
class Task:
    """A request that waits."""

    inputs: dict  # name -> array (rows, ...)
    rows: int
    answer: Future = field(default_factory=Future)


class Batcher:
    """Runs a function of arrays on the rows of many requests at once, and gives each request its own rows back.

    Args:
        run: {name: array (B, ...)} -> {name: array (B, ...)}.
        batching: `serving_config.Batching`.
    """

    def __init__(self, run, batching):
        self._run, self._batching, self._most = run, batching, batching.sizes[-1]
        self._waiting, self._rows = deque(), 0
        self._changed, self._closed = threading.Condition(), False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(batching.threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, inputs):
        """A `Future` of the outputs for the inputs of one request.

        Raises: ValueError for more rows than the largest batch has, or inputs that differ in rows; `QueueFull`.
        """
        counts = sorted({len(array) for array in inputs.values()})
        if len(counts) > 1:
            raise ValueError(f"Batching input tensors must have equal 0th-dimension size. Received: {counts}")
        if counts[0] > self._most:
            raise ValueError(f"Task size {counts[0]} is larger than maximum input batch size {self._most}")
        task = Task(inputs, counts[0])
        with self._changed:
            alone = self._closed or not task.rows
            if not alone:
                if self._rows + task.rows > self._batching.queue * self._most:
                    raise QueueFull("The batch scheduling queue to which this task was submitted is full")
                self._waiting.append(task)
                self._rows += task.rows
                self._changed.notify()
        if alone:  # nothing to batch, or a straggler that found a version just before it was unloaded
            self._answer([task])
        return task.answer

    def close(self):
        """Answer what waits, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self):
        while batch := self._next_batch():
            self._answer(batch)

    def _next_batch(self):
        """The requests of the next batch, first come first; none once closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                self._changed.wait_for(lambda: self._rows >= self._most or self._closed, self._batching.timeout)
                batch, rows = [], 0
                while self._waiting and rows + self._waiting[0].rows <= self._most:
                    batch.append(self._waiting.popleft())
                    rows += batch[-1].rows
                self._rows -= rows
                if batch:  # and not all taken by another thread
                    return batch

    def _answer(self, batch):
        batch = [task for task in batch if task.answer.set_running_or_notify_cancel()]
        if batch:
            self._attempt(batch)

    def _attempt(self, batch):
        """Run requests together; if that fails, each alone, so that none suffers from another."""
        try:
            outputs = self._run(self._filled({name: self._joined(batch, name) for name in batch[0].inputs}))
        except Exception as error:  # whatever it is, it is the answer
            for task in batch:
                self._attempt([task]) if len(batch) > 1 else task.answer.set_exception(error)
            return
        start = 0
        for task in batch:
            end = start + task.rows
            task.answer.set_result({name: array[start:end] for name, array in outputs.items()})
            start = end

    @staticmethod
    def _joined(batch, name):
        return np.concatenate([task.inputs[name] for task in batch])

    def _filled(self, inputs):
        """The inputs with their last row repeated up to the next allowed size."""
        rows = len(next(iter(inputs.values())))
        missing = next(size for size in (0, *self._batching.sizes) if size >= rows) - rows
        return {name: np.concatenate([array, *[array[-1:]] * missing]) for name, array in inputs.items()}
