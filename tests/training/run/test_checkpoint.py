import resource

import numpy as np
import pytest

from keras_vit.training.run import checkpoint
from tests.training.step.test_state import built


def arrays_of(variables):
    return {name: v.numpy() for name, v in variables.items()}


def test_a_checkpoint_restores_every_bit(tmp_path):
    variables, others = built(model_ema_decay=0.9).named_variables(), built(model_ema_decay=0.9).named_variables()
    generator = np.random.default_rng(0)
    for v in variables.values():
        v.assign(generator.integers(1, 99, v.shape).astype(v.dtype))
    state = {"history": [{"epoch": 0, "eval_loss": 0.1}], "best": None}
    checkpoint.save(tmp_path / "last.npz", arrays_of(variables), state)
    arrays, loaded = checkpoint.load(tmp_path / "last.npz")
    checkpoint.restore(others, arrays, "last.npz")
    assert loaded == checkpoint.load_state(tmp_path / "last.npz") == state
    for name, v in variables.items():
        np.testing.assert_array_equal(v.numpy(), others[name].numpy())


def test_weights_of_epochs_are_kept_as_long_as_they_are_named(tmp_path):
    store = checkpoint.Store(tmp_path, 2)
    for epoch in range(12):
        store.save_epoch(epoch, [np.full(3, epoch), np.float32(epoch)])
    store.prune_epochs({1, 11})
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-0001.npz", "epoch-0011.npz"}
    assert [array.tolist() for array in store.load_epoch(11)] == [[11, 11, 11], 11.0]
    with pytest.raises(ValueError, match="epoch-0003.npz is not a complete checkpoint"):
        store.load_epoch(3)


def test_the_checkpoint_of_another_model_is_refused():
    variables = built().named_variables()
    arrays = arrays_of(variables)
    (first, value), *_ = arrays.items()
    with pytest.raises(ValueError, match="another model. Missing: none; unexpected: model/x;"):
        checkpoint.restore(variables, arrays | {"model/x": value}, "last.npz")
    with pytest.raises(ValueError, match="other shapes: .* in the file"):
        checkpoint.restore(variables, arrays | {first: value[..., :1]}, "last.npz")
    del arrays[first]
    with pytest.raises(ValueError, match=f"Missing: {first}"):
        checkpoint.restore(variables, arrays, "last.npz")


@pytest.mark.parametrize("keep", [0, 30, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"a": np.arange(1000)}, {"epoch": 1})
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(ValueError, match="last.npz is not a complete checkpoint"):
        checkpoint.load(path)


def damage(path):
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)


def test_a_changed_byte_is_detected(tmp_path):
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"a": np.arange(1000)}, {"epoch": 1})
    damage(path)
    with pytest.raises(ValueError, match="CRC"):
        checkpoint.load(path)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"a": np.arange(10)}, {"epoch": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match="last.npz could not be written: .*intact; make room"):
            checkpoint.save(path, {"a": np.zeros(100_000)}, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint.load(path)[1] == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.npz"]


def save(store, step, best=None):
    state = {"step": step, "best": None if best is None else {"epoch": best}}
    store.save(step, {"a": np.arange(1000) + step}, state)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_are_kept_and_their_names_sort(tmp_path):
    store = checkpoint.Store(tmp_path, keep=2)
    assert store.load_newest() is None
    for step in (5, 50, 1000):
        save(store, step)
    assert names(tmp_path) == ["step-00000050.npz", "step-00001000.npz"]
    path, arrays, state = store.load_newest()
    assert (path.name, state["step"], arrays["a"][0], store.damaged) == ("step-00001000.npz", 1000, 1000, {})


def test_best_weights_are_kept_while_a_checkpoint_names_them(tmp_path):
    store = checkpoint.Store(tmp_path, keep=2)
    for step, best in ((10, 0), (20, 0), (30, 2), (40, 2)):
        store.save_best(best, {"a": np.zeros(3)})
        save(store, step, best)
        if step == 30:
            assert {"best-0000.npz", "best-0002.npz"} < set(names(tmp_path))
    assert names(tmp_path) == ["best-0002.npz", "step-00000030.npz", "step-00000040.npz"]


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("harm", [damage, lambda path: path.write_bytes(b"PK")])
def test_a_damaged_checkpoint_is_skipped_and_removed_later(tmp_path, keep, harm):
    for step in (10, 20):
        save(checkpoint.Store(tmp_path, keep=2), step)
    harm(tmp_path / "step-00000020.npz")
    store = checkpoint.Store(tmp_path, keep)
    path, _, state = store.load_newest()
    assert state["step"] == 10
    ((path, error),) = store.damaged.items()
    assert path.name == "step-00000020.npz" and "step-00000020.npz is not a complete" in error
    save(store, 15)
    assert names(tmp_path) == ["step-00000010.npz", "step-00000015.npz"][-keep:]
    save(store, 20)
    assert checkpoint.Store(tmp_path, keep).load_newest()[2]["step"] == 20


def test_if_all_are_damaged_the_run_does_not_silently_start_again(tmp_path):
    store = checkpoint.Store(tmp_path, keep=2)
    save(store, 10)
    (tmp_path / "step-00000010.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="Remove .* to begin the run again"):
        store.load_newest()


def test_a_checkpoint_is_due_by_count_or_by_time(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    by_count, by_time, never = (checkpoint.Schedule(*values) for values in ((3, 0), (0, 2), (0, 0)))
    assert [step for step in range(1, 8) if by_count.due(step)] == [3, 6]
    now[0] += 119
    assert not by_time.due(1)
    now[0] += 1
    assert by_time.due(2) and not by_count.due(2)
    by_time.restart()
    now[0] += 60
    assert not by_time.due(3) and not never.due(3)
