"""Micro-batches that fit: the fewest per device for which a step has enough memory (grad_accum_steps="auto").

A candidate is tried out: a step like those of the run, with weights that are thrown away. On a GPU the fewest are tried
first, since TensorFlow says when its memory does not suffice. A process on a CPU that takes too much is ended by the
system instead, so there two small micro-batches are measured, a line through them names the candidate, and that is
measured too.
"""

import contextlib
import gc
import threading
from dataclasses import dataclass

import keras

from keras_vit.training import plan as plans

SHARE = 0.8  # of a computer's free memory
EVERY = 0.005  # seconds between two looks at a process's memory
SPREAD = 4  # how many times as large the second of the small micro-batches is at least


@dataclass(frozen=True)
class Found:
    """How many micro-batches a device needs, bytes that a step then takes, and bytes that there are (None: a GPU's)."""

    count: int
    peak: int
    limit: int | None


def fitted(plan, attempt, log):
    """The plan of a run with the fewest micro-batches that fit, unless the run has begun and noted its own.

    Args:
        plan: for one micro-batch per device.
        attempt: function that makes a step of a plan, with weights that are thrown away.
        log: function of a line of text.
    Raises:
        ValueError: if nothing fits, and for several workers, whose devices would have to be tried together.
    """
    import tensorflow as tf

    if (noted := plans.noted_micro_batches(plan)) is not None:
        return plans.with_micro_batches(plan, noted)
    if plan.worker.count > 1:
        raise ValueError("grad_accum_steps=auto: several workers need a number. Give grad_accum_steps.")
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    sizes, limit = candidates(plan), memory_limit(plan.recipe, on_gpu)
    found = find(sizes, lambda count: _peak(plans.with_micro_batches(plan, count), attempt, on_gpu), limit, on_gpu)
    keras.utils.set_random_seed(plan.recipe.seed)  # the attempts have drawn weights
    log(
        f"grad_accum_steps=auto: {found.count} of {sizes[found.count]} images per device; a step takes "
        f"{in_gib(found.peak)}{f' of {in_gib(limit)}' if limit is not None else ''}"
    )
    return plans.with_micro_batches(plan, found.count)


def candidates(plan):
    """{micro-batches per device: images of each}, the fewest first."""
    replicas, mixed = plan.strategy.num_replicas_in_sync, plan.recipe.mixup > 0 or plan.recipe.cutmix > 0
    sizes = {}
    for count in range(1, plan.recipe.batch_size // replicas + 1):
        with contextlib.suppress(ValueError):  # does not divide the batch, or there are too few images
            sizes[count] = plans.with_micro_batches(plan, count).batch_size // (replicas * count)
    return {count: size for count, size in sizes.items() if size and not (mixed and size % 2)}


def find(sizes, peak_of, limit, said_by_device):
    """The `Found` of a device.

    Args:
        sizes: as `candidates` returns them.
        peak_of: function from a number of micro-batches to the most bytes that a step takes; None if the device said
            that they are too many.
        limit: bytes; None for what the device has.
        said_by_device: whether a device says that memory does not suffice, as GPUs do.
    Raises:
        ValueError: if not even the smallest micro-batch fits.
    """
    measured = {}

    def fits(count):
        if count not in measured:
            measured[count] = peak_of(count)
        return measured[count] is not None and (limit is None or measured[count] <= limit)

    counts = list(sizes)
    for count in counts if said_by_device else counts[_promising(sizes, fits, measured, limit) :]:
        if fits(count):
            return Found(count, measured[count], limit)
    peak = measured[counts[-1]]
    raise ValueError(
        f"grad_accum_steps=auto: not even a micro-batch of {sizes[counts[-1]]} images fits into memory"
        + (f": a step takes {in_gib(peak)} of {in_gib(limit)}" if peak is not None else "")
        + ". Give grad_checkpointing, a smaller img_size or a smaller model."
    )


def _promising(sizes, fits, measured, limit):
    """Where in the candidates the first one is that fits by the line through two small ones."""
    counts = list(sizes)
    small = counts[-1]
    larger = next((count for count in reversed(counts) if sizes[count] >= SPREAD * sizes[small]), counts[0])
    if not fits(small):
        return counts.index(small)
    if larger == small or not fits(larger):
        return counts.index(larger)
    slope = max(0, measured[larger] - measured[small]) / (sizes[larger] - sizes[small])
    expected = {count: measured[larger] + slope * (sizes[count] - sizes[larger]) for count in counts}
    return next(i for i, count in enumerate(counts) if expected[count] <= limit or count == larger)


def memory_limit(recipe, said_by_device):
    """Bytes that a step may take: what `memory_gigabytes` says; else None on a GPU, on a CPU a share of the free."""
    if recipe.memory_gigabytes is not None:
        return int(recipe.memory_gigabytes * 2**30)
    if said_by_device:
        return None
    import psutil

    return int(psutil.Process().memory_info().rss + SHARE * _free())


def _free():
    """Bytes that this process may still take, of the computer's memory and of the container's."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        with open("/sys/fs/cgroup/memory.max") as most, open("/sys/fs/cgroup/memory.current") as current:
            return min(free, max(0, int(most.read()) - int(current.read())))
    except (OSError, ValueError):  # no container, or one without a limit, "max"
        return free


def _peak(plan, attempt, on_gpu):
    """The most bytes that are in use during an attempt; None if the device says that it has no more.

    On a GPU those of TensorFlow's allocator, else those of the process.
    """
    import tensorflow as tf

    try:
        if on_gpu:
            tf.config.experimental.reset_memory_stats("GPU:0")
            attempt(plan)
            return tf.config.experimental.get_memory_info("GPU:0")["peak"]
        with _Watch() as watch:
            attempt(plan)
        return watch.peak
    except tf.errors.ResourceExhaustedError:
        return None
    finally:
        keras.backend.clear_session()  # names of layers are counted, and those of the run begin anew
        gc.collect()


class _Watch:
    """Looks at the memory of the process again and again, in a thread."""

    def __enter__(self):
        import psutil

        self.process, self.peak, self.over = psutil.Process(), 0, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()

    def _look(self):
        while True:
            self.peak = max(self.peak, self.process.memory_info().rss)
            if self.over.wait(EVERY):
                return


def in_gib(count):
    """Bytes as text, "1.25 GiB"."""
    return f"{count / 2**30:.2f} GiB"
