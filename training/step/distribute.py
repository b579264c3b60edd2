"""The devices that a run computes on: those of this machine, or of all machines that TF_CONFIG names.

TF_CONFIG is TensorFlow's environment variable for several workers, JSON that is the same on each but for its index:

    {"cluster": {"worker": ["host0:9000", "host1:9000"]}, "task": {"type": "worker", "index": 0}}

Worker 0, or the task "chief" if there is one, writes the run folder. It must be on storage that all workers share,
because each of them reads the checkpoint to resume from.
"""

import contextlib
import functools
import json
import os

from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.step import rendezvous

FORM = '{"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}'


def prepare_process(recipe):
    """Seed the initial weights, and make TensorFlow's operations deterministic if the recipe says so.

    Raises:
        ValueError: on another backend than TensorFlow's; tf.distribute exists there only.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Training runs on Keras' TensorFlow backend, because it uses tf.distribute. Received: "
            f"{keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def waiting(timeout, log):
    """Context for `make_strategy`: workers, if TF_CONFIG lists some, meet before TensorFlow connects them.

    Args:
        timeout: seconds to wait for the other workers; the same again, for TensorFlow to connect them.
        log: called with lines that say who is waited for.
    Raises:
        ValueError: for a TF_CONFIG that does not describe workers.
        ConnectionError: naming the workers that did not come in time.
    """
    text = os.environ.get("TF_CONFIG")
    if not text or _workers_strategy.cache_info().currsize:  # they meet once in a process
        yield
        return
    rendezvous.meet(addresses_in_cluster(text), place_in_cluster(text)[0], timeout, log)
    with rendezvous.patience(timeout):
        yield


def make_strategy():
    """MultiWorkerMirroredStrategy if TF_CONFIG is set, else MirroredStrategy over the GPUs of this machine.

    Without a GPU it takes the logical CPU devices. Workers wait here for each other: for good, so call it in `waiting`.
    TensorFlow requires this to be called before any of its operations.

    Raises:
        ValueError: for a TF_CONFIG that does not describe workers.
    """
    if os.environ.get("TF_CONFIG"):
        place_in_cluster(os.environ["TF_CONFIG"])
        return _workers_strategy()
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _strategy_over(tuple(device.name for device in devices))


def worker_of(strategy):
    """This process among the workers of the strategy."""
    local = len(strategy.extended.worker_devices)
    return Worker(*(place_in_cluster(os.environ["TF_CONFIG"]) if _several(strategy) else (0, 1)), local)


def barrier(strategy):
    """Wait for all workers."""
    require_same_step(strategy, 0)


def require_same_step(strategy, step):
    """Wait for all workers. ValueError, on each of them, unless all are at the same step."""
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


def any_asks(strategy, asked):
    """Whether any worker asks: every worker calls this, waits for the others, and gets the same answer."""
    import tensorflow as tf

    if not _several(strategy):
        return asked

    @tf.function(autograph=False)
    def counted():
        flags = strategy.run(lambda: tf.constant(float(asked)))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None)

    return bool(counted().numpy() > 0)


@contextlib.contextmanager
def lost_worker_errors(strategy):
    """Turn the errors that TensorFlow raises when another worker is lost into a ConnectionError that says so."""
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
    """One strategy per process: a second one over the same devices numbers its reductions from 0 again.

    TensorFlow 2.21 then confuses them with those of the first and fails with "Shape mismatch in the collective
    instance".
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _workers_strategy():
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy()


def place_in_cluster(text):
    """(index of this worker, number of workers) of the value of TF_CONFIG; the chief, if there is one, has index 0.

    Raises:
        ValueError: unless it lists workers, perhaps a chief, and this process is one of them.
    """
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
    chiefs, workers = (len(cluster.get(kind, ())) for kind in ("chief", "worker"))
    return index + (chiefs if kind == "worker" else 0), chiefs + workers


def addresses_in_cluster(text):
    """The "host:port" of all workers in the value of TF_CONFIG, that of the chief first.

    Raises:
        ValueError: as `place_in_cluster`, and for an address that is none.
    """
    place_in_cluster(text)
    cluster = json.loads(text)["cluster"]
    addresses = [*cluster.get("chief", ()), *cluster.get("worker", ())]
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 2**16):
            raise ValueError(f"TF_CONFIG must list the workers as host:port. Received: {address!r}.")
    return addresses
