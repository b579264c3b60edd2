import resource

import keras
import numpy as np
import pytest

from keras_vit.training import checkpoint, optimizer
from tests.training import toy


def built(seed=0):
    keras.utils.set_random_seed(seed)
    model = toy.TOY(weights=None, input_shape=(8, 8, 3), classes=3, drop_rate=0.1)
    made = optimizer.make(toy.recipe(), model.trainable_variables, 5)
    return checkpoint.variables_of(model, made)


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    variables, others = built(0), built(1)
    generator = np.random.default_rng(0)
    for v in variables.values():
        v.assign(generator.integers(1, 99, v.shape).astype(v.dtype))
    state = {"history": [{"epoch": 0, "eval_loss": 0.1}], "best": None}
    checkpoint.save(tmp_path / "last.npz", checkpoint.arrays_of(variables), state)
    arrays, loaded = checkpoint.load(tmp_path / "last.npz")
    checkpoint.restore(others, arrays, "last.npz")
    assert loaded == state
    for name, v in variables.items():
        np.testing.assert_array_equal(v.numpy(), others[name].numpy())


def test_moments_and_the_count_of_steps_are_kept_and_seeds_are_not():
    names = list(built())
    assert any(name.endswith("iteration") for name in names)
    assert any("momentum" in name for name in names) and any("velocity" in name for name in names)
    assert not any("seed_generator" in name for name in names)


def test_another_model_is_refused(tmp_path):
    variables = built()
    arrays = checkpoint.arrays_of(variables)
    (first, value), *_ = arrays.items()
    with pytest.raises(ValueError, match="another model. Missing: none; unexpected: model/x;"):
        checkpoint.restore(variables, arrays | {"model/x": value}, "last.npz")
    with pytest.raises(ValueError, match="other shapes: .* in the file"):
        checkpoint.restore(variables, arrays | {first: value[..., :1]}, "last.npz")
    del arrays[first]
    with pytest.raises(ValueError, match=f"Missing: {first}"):
        checkpoint.restore(variables, arrays, "last.npz")


@pytest.mark.parametrize("keep", [0, 30, 0.5, 0.99])
def test_a_cut_file_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"a": np.arange(1000)}, {"epoch": 1})
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(ValueError, match="last.npz is not a complete checkpoint"):
        checkpoint.load(path)


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"a": np.arange(1000)}, {"epoch": 1})
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="CRC"):
        checkpoint.load(path)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "last.npz"
    checkpoint.save(path, {"a": np.arange(10)}, {"epoch": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError):
            checkpoint.save(path, {"a": np.zeros(100_000)}, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint.load(path)[1] == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.npz"]
