import json

import pytest

from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.step import distribute


def config(kind="worker", index=0, **cluster):
    cluster = cluster or {"worker": ["a:1", "b:1"]}
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_the_strategy_takes_every_device():
    strategy = distribute.make_strategy()
    assert strategy.num_replicas_in_sync == 2 and distribute.make_strategy() is strategy
    assert distribute.worker_of(strategy) == Worker(0, 1, 2)
    distribute.barrier(strategy)


@pytest.mark.parametrize(
    "text, place",
    [
        (config(index=1), (1, 2)),
        (config("chief", chief=["a:1"], worker=["b:1", "c:1"]), (0, 3)),
        (config("worker", 1, chief=["a:1"], worker=["b:1", "c:1"]), (2, 3)),
    ],
)
def test_the_chief_comes_first(text, place):
    assert distribute.place_in_cluster(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"cluster": {}}', config(index=2), config(index=-1), config("evaluator")),
        config(ps=["a:1"], worker=["b:1"]),
    ],
)
def test_an_invalid_cluster_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG must .*Received: ") as error:
        distribute.make_strategy()
    assert text in str(error.value)


def test_the_addresses_have_the_chief_first():
    text = config("worker", 0, chief=["a:1"], worker=["b:2", "[::1]:3"])
    assert distribute.addresses_in_cluster(text) == ["a:1", "b:2", "[::1]:3"]


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:0", "a:65536", "a:x", "a:" + "9" * 5000, 1, None])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="TF_CONFIG must list the workers as host:port. Received: "):
        distribute.addresses_in_cluster(config(worker=["a:1", address]))


def test_one_process_asks_for_itself():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert distribute.any_asks(strategy, True) and not distribute.any_asks(strategy, False)


def test_one_process_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with distribute.waiting(1, print):
        pass
