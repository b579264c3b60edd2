"""Environments as the launchers make them; those of Slurm are taken from tasks of its release 22.05."""

import json

import pytest

from keras_vit.training.recipe import Recipe
from keras_vit.training.step.cluster import Cluster, find, of_recipe

SLURM = {  # the second of two tasks, one per node
    **{"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[01-02]", "SLURM_STEP_ID": "0"},
    **{"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "n[01-02]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"},
    **{"SLURM_PROCID": "1", "SLURM_NODEID": "1", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2"},
}
FOUR = SLURM | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "3,1", "SLURM_PROCID": "3"}
MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
KUBEFLOW = {
    **{"PET_NNODES": "3", "PET_NODE_RANK": "2", "PET_NPROC_PER_NODE": "8", "JOB_COMPLETION_INDEX": "2"},
    **{"PET_MASTER_ADDR": "swin-node-0-0.swin", "PET_MASTER_PORT": "29500"},
}


def tf_config(kind="worker", index=0, **cluster):
    cluster = cluster or {"worker": ["a:1", "b:1"]}
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def hosts_of(cluster):
    return [address.partition(":")[0] for address in cluster.addresses]


@pytest.mark.parametrize(
    "text, addresses, index",
    [
        (tf_config(index=1), ("a:1", "b:1"), 1),
        (tf_config("chief", chief=["a:1"], worker=["b:1", "[::1]:3"]), ("a:1", "b:1", "[::1]:3"), 0),
        (tf_config("worker", 1, chief=["a:1"], worker=["b:1", "c:1"]), ("a:1", "b:1", "c:1"), 2),
        (tf_config(worker=["a:1"]), ("a:1",), 0),
    ],
)
def test_tf_config_wins_and_its_chief_comes_first(text, addresses, index):
    for others in ({}, SLURM, MPI, KUBEFLOW):
        assert find(others | {"TF_CONFIG": text}, "x,y", 7) == Cluster(addresses, index, "TF_CONFIG")


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"cluster": {}}', tf_config(index=2), tf_config(index=-1), tf_config("evaluator")),
        tf_config(ps=["a:1"], worker=["b:1"]),
    ],
)
def test_an_invalid_tf_config_is_refused(text):
    with pytest.raises(ValueError, match="TF_CONFIG must .*Received: ") as error:
        find({"TF_CONFIG": text})
    assert text in str(error.value)


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:0", "a:65536", "a:x", "a:" + "9" * 5000, 1, None])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="TF_CONFIG must list the workers as host:port. Received: "):
        find({"TF_CONFIG": tf_config(worker=["a:1", address])})


def test_tasks_of_slurm_are_workers():
    found = find(SLURM, port=5000)
    assert found == Cluster(("n01:5000", "n02:5000"), 1, "Slurm") and found.name(1) == "worker 1 at n02:5000"


def test_tasks_on_one_node_have_ports_of_their_own():
    assert find(FOUR, port=5000) == Cluster(("n01:5000", "n01:5001", "n01:5002", "n02:5000"), 3, "Slurm")


def test_a_repeated_number_of_tasks_is_that_of_so_many_nodes():
    environ = SLURM | {"SLURM_STEP_NUM_TASKS": "5", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1"}
    environ |= {"SLURM_STEP_NODELIST": "n[1-3]", "SLURM_PROCID": "4", "SLURM_NODEID": "2"}
    assert hosts_of(find(environ)) == ["n1", "n1", "n2", "n2", "n3"]


def test_given_hosts_replace_those_of_slurm():
    assert find(SLURM, "ib[1-2]", 7).addresses == ("ib1:7", "ib2:7")


def test_jobs_and_steps_that_run_at_the_same_time_have_ports_of_their_own():
    def ports(job, step):
        found = find(FOUR | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)})
        return {address.partition(":")[2] for address in found.addresses}

    taken = [ports(job, step) for job in range(1000, 1060) for step in range(3)]
    assert sum(map(len, taken)) == len(set.union(*taken)) == 540
    assert all(10240 <= int(port) < 32768 for port in set.union(*taken, ports(10**9, 10**8)))
    assert ports(1000, 0) == ports(1000, 0)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
        MPI | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        KUBEFLOW | {"PET_NNODES": "1", "PET_NODE_RANK": "0"},
        {"JOB_COMPLETION_INDEX": "3"},  # perhaps one of many runs
        {"TF_CONFIG": ""},
    ],
)
def test_a_process_that_nobody_gave_others_trains_alone(environ):
    assert find(environ) is None


def test_one_host_is_no_cluster():
    assert find({}, "localhost") is None and find({"JOB_COMPLETION_INDEX": "0"}, "localhost") is None


def test_open_mpi_takes_the_hosts_as_they_are_given():
    assert find(MPI, "a,b,c,d:9").addresses == ("a:2222", "b:2222", "c:2222", "d:9")
    assert find(MPI, "a:7,b:7") == Cluster(("a:7", "a:8", "b:7", "b:8"), 2, "Open MPI")
    assert find(MPI, "a,a,b,a", 5).addresses == ("a:5", "a:6", "b:5", "a:7")


def test_mpirun_in_a_job_of_slurm_is_open_mpi_with_the_port_of_the_job():
    batch = {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "4", "SLURM_PROCID": "0"}
    found = find(MPI | batch, "n[1-4]")
    assert (found.source, found.index) == ("Open MPI", 2)
    assert found.addresses[0].partition(":")[2] == find(SLURM).addresses[0].partition(":")[2]
    assert find(MPI | {"PBS_JOBID": "41.server"}, "n[1-4]").addresses == found.addresses


def test_pods_of_a_trainjob_are_called_after_the_first():
    hosts = ("swin-node-0-0.swin:29500", "swin-node-0-1.swin:29500", "swin-node-0-2.swin:29500")
    assert find(KUBEFLOW) == Cluster(hosts, 2, "Kubeflow")
    assert find(KUBEFLOW, "a,b,c").addresses == ("a:29500", "b:29500", "c:29500")


def test_pods_of_an_indexed_job_are_workers_if_they_are_named():
    found = find({"JOB_COMPLETION_INDEX": "1"}, "swin-[0-1].swin")
    assert found == Cluster(("swin-0.swin:2222", "swin-1.swin:2222"), 1, "Kubernetes")


@pytest.mark.parametrize(
    "environ, hosts, expected",
    [
        (SLURM | {"SLURM_PROCID": "2"}, None, "SLURM_PROCID.*below 2, the SLURM_STEP_NUM_TASKS. Received: 2"),
        (SLURM | {"SLURM_PROCID": "-1"}, None, "SLURM_PROCID.*whole number. Received: '-1'"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "two"}, None, "SLURM_STEP_NUM_TASKS.*whole number. Received: 'two'"),
        (SLURM | {"SLURM_PROCID": ""}, None, "SLURM_PROCID is missing"),
        (SLURM | {"SLURM_STEP_NODELIST": ""}, None, "SLURM_STEP_NODELIST is missing"),
        (SLURM | {"SLURM_STEP_NODELIST": "n[1-"}, None, r"SLURM_STEP_NODELIST must list hosts.*Received: 'n\[1-'"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1(x3)"}, None, "SLURM_STEP_TASKS_PER_NODE=1.x3. does not divide"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2"}, None, "SLURM_STEP_TASKS_PER_NODE=2 does not divide"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1x2"}, None, "SLURM_STEP_TASKS_PER_NODE must have the form"),
        (FOUR | {"SLURM_NODEID": "0"}, None, "--distribution=block.*Received: SLURM_NODEID=0"),
        (FOUR | {"SLURM_DISTRIBUTION": "cyclic"}, None, "--distribution=block.*SLURM_DISTRIBUTION=cyclic"),
        (SLURM, "a,b,c", "a host for each of the 2 workers of Slurm.*Received 3: a, b, c"),
        (KUBEFLOW, "a:29500,a,b", "must not name an address twice"),
        (SLURM, "a:65536,b", "Received: a:65536"),
        (SLURM, "a:b:1,b", "Received: a:b:1"),
        ({"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "4"}, None, "4 nodes .SLURM_JOB_NUM_NODES.*`srun keras-vit"),
        (MPI, None, "4 processes .OMPI_COMM_WORLD_SIZE.*--hosts host0,host1"),
        (MPI | {"OMPI_COMM_WORLD_RANK": "4"}, "a,b", "OMPI_COMM_WORLD_RANK.*below 4"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "a,b", "OMPI_COMM_WORLD_RANK is missing"),
        (KUBEFLOW | {"PET_NNODES": "1:4"}, None, "PET_NNODES.*whole number. Received: '1:4'"),
        (KUBEFLOW | {"PET_NODE_RANK": "3"}, None, "PET_NODE_RANK.*below 3"),
        (KUBEFLOW | {"PET_MASTER_ADDR": ""}, None, "PET_MASTER_ADDR is missing"),
        (KUBEFLOW | {"PET_MASTER_ADDR": "10.0.0.10"}, None, "PET_MASTER_ADDR=10.0.0.10. Name them: --hosts"),
        ({"JOB_COMPLETION_INDEX": "2"}, "a,b", "JOB_COMPLETION_INDEX.*below 2, the number of --hosts"),
        ({}, "a,b", "--hosts names 2 workers, but nothing .* JOB_COMPLETION_INDEX"),
    ],
)
def test_what_is_described_in_part_or_wrongly_is_refused_by_the_names_of_its_variables(environ, hosts, expected):
    with pytest.raises(ValueError, match=expected):
        find(environ, hosts)


def test_the_settings_of_a_recipe_decide():
    recipe = Recipe(model="ViTTiny", hosts="a,b", worker_port=9)
    assert of_recipe(recipe, {"JOB_COMPLETION_INDEX": "1"}) == Cluster(("a:9", "b:9"), 1, "Kubernetes")
    assert of_recipe(recipe.replace(cluster="none"), SLURM | {"TF_CONFIG": "{"}) is None
