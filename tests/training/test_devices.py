import json

import pytest

from keras_vit.training import devices
from keras_vit.training.order import Worker


def config(kind="worker", index=0, **cluster):
    cluster = cluster or {"worker": ["a:1", "b:1"]}
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_the_strategy_takes_every_device():
    strategy = devices.make_strategy()
    assert strategy.num_replicas_in_sync == 2 and devices.make_strategy() is strategy
    assert devices.worker_of(strategy) == Worker(0, 1, 2)
    devices.barrier(strategy)


@pytest.mark.parametrize(
    "text, place",
    [
        (config(index=1), (1, 2)),
        (config("chief", chief=["a:1"], worker=["b:1", "c:1"]), (0, 3)),
        (config("worker", 1, chief=["a:1"], worker=["b:1", "c:1"]), (2, 3)),
    ],
)
def test_the_chief_comes_first(text, place):
    devices._check(text)
    assert devices._place(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"cluster": {}}', config(index=2), config(index=-1), config("evaluator")),
        config(ps=["a:1"], worker=["b:1"]),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must .*Received: ") as error:
        devices.make_strategy()
    assert text in str(error.value)
