"""The devices that a run computes on: those of this machine, or of all workers that the environment names (`cluster`).

Worker 0 writes the run folder. It must be on storage that all workers share, because each of them reads the checkpoint
to resume from.
"""

import contextlib
import functools
import os

from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.step import cluster as clusters
from keras_vit.training.step import rendezvous
from keras_vit.training.step.heartbeat import REMEDY, Heartbeat

# Seconds that a worker may be silent, and that are waited for a sign, once TensorFlow says that one is lost. Its own
# heartbeat takes ten seconds to find one that is stopped.
SILENT, LAST_SIGN = 4.0, 6.0


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
def waiting(recipe, log):
    """Context for `make_strategy`: workers, if the environment names some, meet before TensorFlow connects them.

    Args:
        recipe: whose `cluster`, `hosts` and ports say which workers there are; its worker_timeout is how long they are
            waited for, and the same again, for TensorFlow to connect them.
        log: called with lines that say who is waited for.
    Yields:
        The `cluster.Cluster`, or None for a process that trains alone.
    Raises:
        ValueError: for an environment that describes workers in part, or not this process.
        ConnectionError: naming the workers that did not come in time.
    """
    cluster = clusters.of_recipe(recipe, os.environ)
    if cluster is None or cluster in _heartbeats():  # they meet once in a process
        yield cluster
        return
    connections = rendezvous.meet(cluster, recipe.worker_timeout, log)
    with rendezvous.patience(recipe.worker_timeout):
        yield cluster
    _heartbeats()[cluster] = Heartbeat(cluster, connections, recipe.worker_silence)


def make_strategy(cluster=None):
    """MultiWorkerMirroredStrategy over the workers of a cluster, else MirroredStrategy over the GPUs of this machine.

    Without a GPU it takes the logical CPU devices. Workers wait here for each other: for good, so call it in `waiting`.
    TensorFlow requires this to be called before any of its operations.
    """
    if cluster is not None:
        return _workers_strategy(cluster)
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return _strategy_over(tuple(device.name for device in devices))


def worker_of(strategy):
    """This process among the workers of the strategy."""
    local = len(strategy.extended.worker_devices)
    if not _several(strategy):
        return Worker(0, 1, local)
    resolver = strategy.cluster_resolver
    return Worker(resolver.task_id, resolver.cluster_spec().num_tasks("worker"), local)


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
    return bool(_sum_over(strategy)(tf.constant(float(asked))).numpy() > 0)


@functools.cache
def _sum_over(strategy):
    """A function that is traced once, not every epoch."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def summed(x):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, (x,)), axis=None)

    return summed


@contextlib.contextmanager
def with_others(strategy, agreed=()):
    """Context of a run: the loss of another worker is a ConnectionError that names it, and the others learn of ours.

    Args:
        agreed: exceptions by which the run ends on all workers alike.
    """
    heartbeat = _heartbeat_of(strategy)
    if heartbeat is None:
        yield
        return
    with heartbeat.run(agreed), _named_errors(heartbeat):
        yield


def check_others(strategy):
    """Raise a ConnectionError that names another worker, if one is lost: for what does not wait for the others."""
    if heartbeat := _heartbeat_of(strategy):
        heartbeat.check()


@contextlib.contextmanager
def _named_errors(heartbeat):
    """Turn the errors that TensorFlow raises when another worker is lost into a ConnectionError that says which."""
    from tensorflow import errors

    lost_worker = (errors.UnavailableError, errors.AbortedError, errors.CancelledError)
    lost_worker += (errors.InternalError, errors.DeadlineExceededError)
    try:
        yield
    except errors.OpError as error:
        lost = heartbeat.lost()
        if not lost and isinstance(error, lost_worker):
            lost = heartbeat.wait_for_loss(LAST_SIGN, SILENT) or "Another worker is gone."
        if not lost:
            raise
        raise ConnectionError(f"{lost} {REMEDY} TensorFlow says: {_said(error)}") from error


def _said(error):
    """The line of an error of TensorFlow's that tells most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    aborted = [line for line in lines if line.startswith("Collective ops is aborted by")]
    return (aborted or lines)[0][:300]


def _heartbeat_of(strategy):
    if not _several(strategy):
        return None
    resolver = strategy.cluster_resolver
    addresses = tuple(resolver.cluster_spec().job_tasks("worker"))
    found = (h for c, h in _heartbeats().items() if (c.addresses, c.index) == (addresses, resolver.task_id))
    return next(found, None)


@functools.cache
def _heartbeats():
    """{`Cluster`: `Heartbeat`} of this process."""
    return {}


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
def _workers_strategy(cluster):
    import tensorflow as tf

    class Resolver(tf.distribute.cluster_resolver.SimpleClusterResolver):
        """Counts the GPUs when TensorFlow asks, because they must not be looked for before."""

        def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
            return {"GPU": len(tf.config.get_visible_devices("GPU"))}

    workers = tf.train.ClusterSpec({"worker": list(cluster.addresses)})
    resolver = Resolver(workers, task_type="worker", task_id=cluster.index, rpc_layer="grpc")
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
