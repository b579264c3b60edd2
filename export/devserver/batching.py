"""Batches waiting requests as TF Serving does: to allowed sizes, after a short wait for further requests."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np


class QueueFull(Exception):
    """A request is rejected because too many are waiting."""


@dataclass
class Task:
    """A waiting request."""

    inputs: dict  # name -> array (rows, ...)
    rows: int
    outputs: Future = field(default_factory=Future)


class Batcher:
    """Runs a function of arrays on the rows of several requests at once, and returns each request its own rows.

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

    @property
    def waiting(self):
        """Number of waiting requests."""
        return len(self._waiting)

    def submit(self, inputs):
        """Queue one request.

        Args:
            inputs: {name: array (B, ...)}.

        Returns:
            A `Future` of the outputs, {name: array (B, ...)}.

        Raises:
            QueueFull: if too many requests are waiting.
            ValueError: for more rows than the largest batch has, or inputs that differ in rows.
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
        if alone:  # no rows, or a request that arrived while the version was being unloaded
            self._run_tasks([task])
        return task.outputs

    def close(self):
        """Run the waiting requests, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self):
        while self._run_tasks(self._next_batch()):  # no name here holds a batch while the next is awaited
            pass

    def _next_batch(self):
        """The requests of the next batch, in order of arrival; [] once closed."""
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
                if batch:  # unless another thread took them all
                    return batch

    def _run_tasks(self, batch):
        """Run those requests that are still wanted; returns whether there were any."""
        wanted = [task for task in batch if task.outputs.set_running_or_notify_cancel()]
        if wanted:
            self._attempt(wanted)
        return bool(batch)

    def _attempt(self, batch):
        """Run requests together; if that fails, each alone, so that one cannot fail the others."""
        try:
            outputs = self._run(self._padded({name: self._joined(batch, name) for name in batch[0].inputs}))
        except Exception as error:  # of any kind: it is passed on to the request
            for task in batch:
                self._attempt([task]) if len(batch) > 1 else task.outputs.set_exception(error)
            return
        start = 0
        for task in batch:
            end = start + task.rows
            task.outputs.set_result({name: array[start:end] for name, array in outputs.items()})
            start = end

    @staticmethod
    def _joined(batch, name):
        return np.concatenate([task.inputs[name] for task in batch])

    def _padded(self, inputs):
        """The inputs with their last row repeated up to the next allowed size."""
        rows = len(next(iter(inputs.values())))
        missing = next(size for size in (0, *self._batching.sizes) if size >= rows) - rows
        return {name: np.concatenate([array, *[array[-1:]] * missing]) for name, array in inputs.items()}
