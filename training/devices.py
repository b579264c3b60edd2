"""The devices that a run computes on: those of this machine, or of all machines that TF_CONFIG names.

TF_CONFIG is TensorFlow's environment variable for several workers, the same JSON on each but for its own number:

    {"cluster": {"worker": ["host0:9000", "host1:9000"]}, "task": {"type": "worker", "index": 0}}

Worker 0, or the task "chief" where there is one, writes the run folder. All workers must see that folder, on shared
storage, because all of them read the checkpoint that they continue from.
"""

import contextlib
import functools
import json
import os

from keras_vit.training.order import Worker

FORM = '{"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}'


def make_strategy():
    """MultiWorkerMirroredStrategy if TF_CONFIG is set, else MirroredStrategy over the GPUs of this machine.

    Without a GPU the logical CPU devices are taken. Workers wait here for each other; call it before any other
    TensorFlow operation, which TensorFlow asks for.

    Raises: ValueError for a TF_CONFIG that does not describe workers.
    """
    if os.environ.get("TF_CONFIG"):
        _check(os.environ["TF_CONFIG"])
        return _workers_strategy()
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _strategy_over(tuple(device.name for device in devices))


def worker_of(strategy):
    """This process among the workers of the strategy."""
    local = len(strategy.extended.worker_devices)
    return Worker(*(_place(os.environ["TF_CONFIG"]) if _several(strategy) else (0, 1)), local)


def barrier(strategy):
    """Wait until all workers have come here."""
    agree(strategy, 0)


def agree(strategy, step):
    """Wait until all workers have come here. ValueError, on all of them, unless they are at the same step."""
    import tensorflow as tf

    if not _several(strategy):
        return

    @tf.function(autograph=False)
    def moments():
        x = tf.constant(step, tf.float64)
        both = strategy.run(lambda: (tf.identity(x), x * x))
        return [strategy.reduce(tf.distribute.ReduceOp.MEAN, moment, axis=None) for moment in both]

    mean, square = (moment.numpy() for moment in moments())
    if mean**2 != square:
        raise ValueError(
            f"The workers would continue from different steps, this one from {step}: they do not see the same output "
            "folder. Give one on storage that all of them share."
        )


@contextlib.contextmanager
def telling_lost_workers(strategy):
    """An error of TensorFlow's that means the loss of another worker becomes a ConnectionError that says so."""
    from tensorflow import errors

    try:
        yield
    except (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.InternalError) as error:
        if not _several(strategy):
            raise
        raise ConnectionError(
            "Another worker is gone. Start all workers again, and the run continues from its last checkpoint. "
            f"TensorFlow says: {str(error).splitlines()[0][:300]}"
        ) from error


def _several(strategy):
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@functools.cache
def _strategy_over(devices):
    """One strategy per process: a second over the same devices would number its reductions from the start again.

    TensorFlow 2.21 then takes them for those of the first and fails with "Shape mismatch in the collective instance".
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _workers_strategy():
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


def _check(text):
    """ValueError unless TF_CONFIG has workers, perhaps a chief, and this process is one of them."""
    try:
        config = json.loads(text)
        cluster, kind, index = config["cluster"], config["task"]["type"], int(config["task"]["index"])
        fits = set(cluster) <= {"chief", "worker"} and 0 <= index < len(cluster[kind])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"TF_CONFIG must have the form {FORM}. Received: {text} ({error!r}).") from error
    if not fits:
        raise ValueError(
            f"TF_CONFIG must list tasks of the types chief and worker, and name one of them. Expected the form {FORM}. "
            f"Received: {text}."
        )


def _place(text):
    """(number of this worker, their number); the chief comes first."""
    config = json.loads(text)
    chiefs, workers = (len(config["cluster"].get(kind, ())) for kind in ("chief", "worker"))
    index = int(config["task"]["index"])
    return index + (chiefs if config["task"]["type"] == "worker" else 0), chiefs + workers
