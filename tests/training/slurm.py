"""A run on two nodes of Slurm that is stopped twice and requeued, against one that is not disturbed: the same bits.

    make test-slurm          or, as root,  python -m tests.training.slurm build/slurm

needs Debian's packages slurm-wlm and iproute2, and root: the two nodes are two daemons of Slurm on this machine, each
in a network namespace of its own, as on two hosts. A third job, of higher priority, takes the nodes away in between.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.training import toy

PROGRAMS = "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "ip", "nsenter", "unshare"
SCRIPT = Path("examples/slurm.sh")
NETWORK = "10.213.77"
NODES = "n1", "n2"
SETTINGS = ["--recipe", "quickstart", "--epochs", "4", "--warmup-epochs", "1", "--deterministic"]
CONFIG = """\
ClusterName=test
SlurmctldHost={host}({network}.254)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeHostname={host} NodeAddr={network}.1 Port=16818 CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr={network}.2 Port=16818 CPUs=1
PartitionName=normal Nodes=n1,n2 Default=YES PriorityTier=1 GraceTime=120
PartitionName=urgent Nodes=n1,n2 PriorityTier=2
"""


def require():
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        sys.exit(f"{', '.join(missing)} not found on the PATH. Install Debian's packages slurm-wlm and iproute2.")
    if os.getuid():
        sys.exit("Two nodes on one machine need network namespaces, and these need root.")


def call(*command, **options):
    return subprocess.run(
        [str(part) for part in command], check=True, text=True, stdout=subprocess.PIPE, **options
    ).stdout


@contextlib.contextmanager
def network():
    """A bridge with a network namespace for each node."""
    remove_network()  # of a test that was killed
    try:
        call("ip", "link", "add", "kv-slurm", "type", "bridge")
        call("ip", "addr", "add", f"{NETWORK}.254/24", "dev", "kv-slurm")
        call("ip", "link", "set", "kv-slurm", "up")
        for i, node in enumerate(NODES, 1):
            call("ip", "netns", "add", f"kv-{node}")
            call("ip", "link", "add", f"kv-{node}", "type", "veth", "peer", "name", "eth0", "netns", f"kv-{node}")
            call("ip", "link", "set", f"kv-{node}", "master", "kv-slurm", "up")
            inside = "ip", "-n", f"kv-{node}"
            call(*inside, "addr", "add", f"{NETWORK}.{i}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                call(*inside, "link", "set", device, "up")
        yield
    finally:
        remove_network()


def remove_network():
    for command in (*(["netns", "del", f"kv-{node}"] for node in NODES), ["link", "del", "kv-slurm"]):
        subprocess.run(["ip", *command], stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def slurm(folder):
    """The controller and two nodes; the commands of this process ask this controller."""
    host = socket.gethostname().partition(".")[0]
    (folder / "state").mkdir()
    config, hosts = folder / "slurm.conf", folder / "hosts"
    config.write_text(CONFIG.format(host=host, network=NETWORK, folder=folder))
    lines = [f"127.0.0.1 localhost {host}"] + [f"{NETWORK}.{i} {node}" for i, node in enumerate(NODES, 1)]
    hosts.write_text("\n".join(lines) + "\n")
    os.environ["SLURM_CONF"] = str(config)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(["slurmctld", "-D"], **quiet)]
    try:
        for node in NODES:
            (folder / f"spool-{node}").mkdir()
            start = f'mount --bind "{hosts}" /etc/hosts && exec slurmd -D -N {node}'
            command = ["nsenter", f"--net=/run/netns/kv-{node}", "unshare", "--mount", "sh", "-c", start]
            processes.append(subprocess.Popen(command, **quiet))
        wait_for(lambda: call("sinfo", "-h", "-o", "%T", "-p", "normal").split() == ["idle"], 60)
        yield
    finally:
        for job in call("squeue", "-h", "-o", "%i").split():
            subprocess.run(["scancel", job])
        time.sleep(3)
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(60)


def wait_for(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"It took more than {seconds} seconds.")
        time.sleep(0.5)


def submit(log, *command):
    """The number of a new job."""
    return call("sbatch", "--parsable", f"--output={log}", *command).strip()


def state(job):
    return (
        call("squeue", "-h", "-j", job, "-o", "%T").strip() if job in call("squeue", "-h", "-o", "%i").split() else ""
    )


def epochs(run):
    path = run / "summary.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def train(folder, name, disturb):
    """The run folder of a run to its end, and its log."""
    run, log = folder / name, folder / f"{name}.log"
    job = submit(log, "--nodes=2", "--overcommit", SCRIPT, run, *SETTINGS)
    disturb(job, run)
    wait_for(lambda: not state(job), 1200)
    if not json.loads((run / "run.json").read_text()).get("finished"):
        raise RuntimeError(f"The run did not finish:\n{log.read_text()}")
    return run, log.read_text()


def twice(folder):
    """What stops a run: the signal that Slurm sends before the time limit, and a job of higher priority."""

    def go_on(job):
        """Slurm lets a job wait for two minutes that was requeued; in the same second it may not be started again."""
        wait_for(lambda: state(job) == "PENDING")
        time.sleep(10)
        call("scontrol", "update", f"JobId={job}", "StartTime=now")

    def disturb(job, run):
        wait_for(lambda: epochs(run) == 1)
        call("scancel", "--signal=TERM", job)
        go_on(job)
        wait_for(lambda: epochs(run) == 2)
        urgent = submit(folder / "urgent.log", "--partition=urgent", "--nodes=2", "--wrap", "srun hostname; sleep 5")
        wait_for(lambda: (folder / "urgent.log").exists() and not state(urgent))
        go_on(job)

    return disturb


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    require()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with network(), slurm(folder):
        whole, log = train(folder, "whole", lambda job, run: None)
        stopped, parts = train(folder, "stopped", twice(folder))
    print(parts)
    if "2 workers x 1 x CPU" not in log or len(re.findall("Stopped and saved after step", parts)) < 2:
        raise RuntimeError(f"Not two workers, or not two stops:\n{log}\n{parts}")
    toy.assert_same_run(whole, stopped)
    print("Two nodes, stopped twice and requeued: the same history, weights and moments as without, to the bit.")


if __name__ == "__main__":
    main()
