"""Which workers a run has and which of them this process is, read from what a launcher put into the environment.

| launcher | number of workers | index | hosts |
|---|---|---|---|
| TF_CONFIG, by hand or by Kubeflow's TFJob | TF_CONFIG | TF_CONFIG | TF_CONFIG |
| Slurm's srun | SLURM_STEP_NUM_TASKS | SLURM_PROCID | SLURM_STEP_NODELIST, SLURM_STEP_TASKS_PER_NODE |
| Open MPI's mpirun | OMPI_COMM_WORLD_SIZE | OMPI_COMM_WORLD_RANK | the setting `hosts` |
| Kubeflow's trainer (v2, torch) | PET_NNODES | PET_NODE_RANK | PET_MASTER_ADDR, PET_MASTER_PORT |
| an indexed Job of Kubernetes | the setting `hosts` | JOB_COMPLETION_INDEX | the setting `hosts` |

The first that is there is taken, in the order TF_CONFIG, Kubeflow, Open MPI, Slurm, Kubernetes: what is started inside
another comes first (mpirun in a job of Slurm). `hosts`, where given, replaces the hosts of any but TF_CONFIG. Nothing
here opens a connection or reads a file.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass

from keras_vit.training.step.host_list import expand

FORM = '{"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}'
PORT = 2222  # where no scheduler has numbered the job; that of TensorFlow's own examples
# A job's ports lie in a block of their own, below those that Linux hands out to connections (32768 and up).
FIRST_PORT, BLOCKS, BLOCK = 10240, 350, 64
JOBS = "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"
INSTEAD = "Or give the workers as TF_CONFIG, or --cluster none for a process that trains alone."


@dataclass(frozen=True)
class Cluster:
    """The workers of a run, and this process among them.

    Attributes:
        addresses: "host:port" of all workers, that of the chief, who writes the run folder, first.
        index: which of them this process is.
        source: whose word this is, "TF_CONFIG" or "Slurm", for messages.
    """

    addresses: tuple[str, ...]
    index: int
    source: str

    def name(self, index):
        """A worker as messages call it."""
        return f"worker {index} at {self.addresses[index]}"


def of_recipe(recipe, environ):
    """`find`, by the settings of a recipe; None also if its `cluster` is "none"."""
    return None if recipe.cluster == "none" else find(environ, recipe.hosts, recipe.worker_port)


def find(environ, hosts=None, port=0):
    """The `Cluster` that an environment describes, or None where it describes one process that trains alone.

    Args:
        environ: {name of a variable: value}.
        hosts: hosts of all workers in the order of their indices, as `host_list.expand` takes them, each perhaps with
            ":port"; fewer than workers if each has equally many, one after the other.
        port: of the first worker of each host; the next ones there take the next ports. 0 for one derived from the
            number of the scheduler's job, so that two jobs on one host do not meet, or else 2222.
    Raises:
        ValueError: naming the variables, for an environment that describes workers in part, or not this process.
    """
    if environ.get("TF_CONFIG"):
        return _of_tf_config(environ["TF_CONFIG"])
    hosts = expand(hosts) if hosts else None
    for variable, reader in LAUNCHERS:
        if variable in environ:
            return reader(environ, hosts, port or _port_of_job(environ))
    if hosts and len(hosts) > 1:
        raise ValueError(
            f"--hosts names {len(hosts)} workers, but nothing in the environment says which of them this process is. "
            "Expected what srun, mpirun, an indexed Job of Kubernetes or Kubeflow sets, such as OMPI_COMM_WORLD_RANK "
            f"or JOB_COMPLETION_INDEX. {INSTEAD}"
        )
    return None


# --- launchers


def _of_tf_config(text):
    """Raises a ValueError unless the text lists workers, perhaps a chief, and this process is one of them."""
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
    chiefs = cluster.get("chief", ())
    addresses = (*chiefs, *cluster.get("worker", ()))
    for address in addresses:
        if not _is_address(address):
            raise ValueError(f"TF_CONFIG must list the workers as host:port. Received: {address!r}.")
    return Cluster(addresses, index + (len(chiefs) if kind == "worker" else 0), "TF_CONFIG")


def _of_slurm(environ, hosts, port):
    """Only srun starts one process per task; what a batch script runs without it is one process on the first node."""
    if "SLURM_STEP_NUM_TASKS" not in environ:
        nodes = _number(environ, "SLURM_JOB_NUM_NODES", "Slurm", 1)
        if nodes > 1:
            raise ValueError(
                f"Slurm gave this job {nodes} nodes (SLURM_JOB_NUM_NODES), but the process was not started by srun, "
                f"and would use the first of them only. Run it as `srun keras-vit train ...`. {INSTEAD}"
            )
        return None
    count = _number(environ, "SLURM_STEP_NUM_TASKS", "Slurm")
    if count == 1:
        return None
    index = _index(environ, "SLURM_PROCID", count, "SLURM_STEP_NUM_TASKS", "Slurm")
    if hosts is None:
        hosts = _tasks_of_slurm(environ, count, index)
    return Cluster(_addresses(hosts, count, port, "Slurm"), index, "Slurm")


def _tasks_of_slurm(environ, count, index):
    """The node of every task. Tasks fill one node after the other, the only distribution that the variables tell."""
    nodes = expand(_text(environ, "SLURM_STEP_NODELIST", "Slurm"), "SLURM_STEP_NODELIST")
    text = _text(environ, "SLURM_STEP_TASKS_PER_NODE", "Slurm")
    tasks = []
    for part in text.split(","):  # "2(x3),1" is 2, 2, 2, 1
        match = re.fullmatch(r"([0-9]{1,6})(?:\(x([0-9]{1,6})\))?", part)
        if not match:
            raise ValueError(f'SLURM_STEP_TASKS_PER_NODE must have the form "2(x3),1". Received: {text!r}. {INSTEAD}')
        tasks += [int(match[1])] * min(int(match[2] or 1), len(nodes) + 1)
    if len(tasks) != len(nodes) or sum(tasks) != count:
        raise ValueError(
            f"SLURM_STEP_TASKS_PER_NODE={text} does not divide SLURM_STEP_NUM_TASKS={count} tasks among the "
            f"{len(nodes)} nodes of SLURM_STEP_NODELIST={environ['SLURM_STEP_NODELIST']}. {INSTEAD}"
        )
    placed = [node for node, number in enumerate(tasks) for _ in range(number)]
    own = _number(environ, "SLURM_NODEID", "Slurm", placed[index])
    distribution = environ.get("SLURM_DISTRIBUTION", "block")
    if own != placed[index] or (max(tasks) > 1 and not distribution.startswith("block")):
        raise ValueError(
            "Tasks of Slurm must fill one node after the other. Expected --distribution=block, and task "
            f"SLURM_PROCID={index} on node {placed[index]}. Received: SLURM_NODEID={own}, "
            f"SLURM_DISTRIBUTION={distribution}. {INSTEAD}"
        )
    return [nodes[node] for node in placed]


def _of_open_mpi(environ, hosts, port):
    count = _number(environ, "OMPI_COMM_WORLD_SIZE", "Open MPI")
    if count == 1:
        return None
    index = _index(environ, "OMPI_COMM_WORLD_RANK", count, "OMPI_COMM_WORLD_SIZE", "Open MPI")
    if hosts is None:
        raise ValueError(
            f"Open MPI started {count} processes (OMPI_COMM_WORLD_SIZE), and does not tell them each other's hosts. "
            "Name these in the order of the ranks: --hosts host0,host1, in a job of Slurm --hosts "
            f'"$SLURM_JOB_NODELIST". {INSTEAD}'
        )
    return Cluster(_addresses(hosts, count, port, "Open MPI"), index, "Open MPI")


def _of_kubeflow(environ, hosts, port):
    """Pods of a TrainJob are called NAME-node-0-INDEX.NAME; its environment has the name of pod 0."""
    count = _number(environ, "PET_NNODES", "Kubeflow")
    if count == 1:
        return None
    index = _index(environ, "PET_NODE_RANK", count, "PET_NNODES", "Kubeflow")
    port = _number(environ, "PET_MASTER_PORT", "Kubeflow", port)
    if hosts is None:
        first = _text(environ, "PET_MASTER_ADDR", "Kubeflow")
        match = re.fullmatch(r"([^.]*-)0((?:\..*)?)", first)
        if not match:
            raise ValueError(
                "The hosts of Kubeflow's workers follow from that of the first, whose name ends in -0, as in "
                f"run-node-0-0.run. Received: PET_MASTER_ADDR={first}. Name them: --hosts host0,host1. {INSTEAD}"
            )
        hosts = [f"{match[1]}{i}{match[2]}" for i in range(count)]
    return Cluster(_addresses(hosts, count, port, "Kubeflow"), index, "Kubeflow")


def _of_kubernetes(environ, hosts, port):
    """An indexed Job is one run only if the hosts are given: its pods may as well train a model each."""
    if hosts is None or len(hosts) == 1:
        return None
    index = _index(environ, "JOB_COMPLETION_INDEX", len(hosts), "number of --hosts", "Kubernetes")
    return Cluster(_addresses(hosts, len(hosts), port, "Kubernetes"), index, "Kubernetes")


LAUNCHERS = (  # variable that tells the launcher, and what reads its others
    ("PET_NNODES", _of_kubeflow),
    ("OMPI_COMM_WORLD_SIZE", _of_open_mpi),
    ("SLURM_JOB_ID", _of_slurm),
    ("JOB_COMPLETION_INDEX", _of_kubernetes),
)


# --- addresses


def _addresses(hosts, count, port, source):
    """ "host:port" of every worker."""
    if not hosts or count % len(hosts):
        raise ValueError(
            f"--hosts must name a host for each of the {count} workers of {source}, or hosts that have equally many. "
            f"Received {len(hosts)}: {', '.join(hosts[:8])}."
        )
    workers = [host for host in hosts for _ in range(count // len(hosts))]
    addresses, on_host = [], Counter()
    for host in workers:
        name, _, own = host.partition(":")
        own = own if ":" in host else str(port)
        if not re.fullmatch("[0-9]{1,5}", own) or not _is_address(f"{name}:{int(own) + on_host[host]}"):
            raise ValueError(
                f"Workers of {source} need hosts, each perhaps with :port, and ports below 65536. Received: {host}"
                + (f", port {port} and up." if ":" not in host else ".")
            )
        addresses.append(f"{name}:{int(own) + on_host[host]}")
        on_host[host] += 1
    if len(set(addresses)) < count:
        raise ValueError(f"--hosts must not name an address twice. Received: {', '.join(hosts[:8])}.")
    return tuple(addresses)


def _is_address(address):
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 2**16)


def _port_of_job(environ):
    """The first port of a job's block. Jobs, and steps of a job, that run at the same time have numbers close by."""
    for name in JOBS:
        if match := re.match(r"[0-9]{1,18}", environ.get(name, "")):
            step = environ.get("SLURM_STEP_ID", "") if name == "SLURM_JOB_ID" else ""
            step = int(step) if re.fullmatch(r"[0-9]{1,9}", step) else 0
            return FIRST_PORT + BLOCK * ((int(match[0]) + 97 * step) % BLOCKS)
    return PORT


# --- variables


def _text(environ, name, source):
    value = environ.get(name, "").strip()
    if not value:
        raise ValueError(f"{source}'s environment is not complete: {name} is missing. {INSTEAD}")
    return value


def _number(environ, name, source, default=None):
    if default is not None and name not in environ:
        return default
    text = _text(environ, name, source)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{name}, which {source} sets, must be a whole number. Received: {text!r}. {INSTEAD}")
    return int(text)


def _index(environ, name, count, of, source):
    index = _number(environ, name, source)
    if index >= count:
        raise ValueError(f"{name}, which {source} sets, must be below {count}, the {of}. Received: {index}. {INSTEAD}")
    return index
