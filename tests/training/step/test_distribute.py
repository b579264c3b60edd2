import pytest

from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.recipe import Recipe
from keras_vit.training.step import distribute


def test_the_strategy_takes_every_device():
    strategy = distribute.make_strategy()
    assert strategy.num_replicas_in_sync == 2 and distribute.make_strategy() is strategy
    assert distribute.worker_of(strategy) == Worker(0, 1, 2)
    distribute.barrier(strategy)


def test_one_process_asks_for_itself():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert distribute.any_asks(strategy, True) and not distribute.any_asks(strategy, False)


def test_one_process_waits_for_nobody_and_misses_nobody(monkeypatch):
    for name in ("TF_CONFIG", "PET_NNODES", "OMPI_COMM_WORLD_SIZE", "SLURM_JOB_ID", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with distribute.waiting(Recipe(model="ViTTiny"), print) as cluster:
        strategy = distribute.make_strategy(cluster)
    with distribute.with_others(strategy):
        distribute.check_others(strategy)
    assert cluster is None


def test_an_environment_that_is_wrong_is_refused(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(ValueError, match="TF_CONFIG must have the form"):
        with distribute.waiting(Recipe(model="ViTTiny"), print):
            pass
