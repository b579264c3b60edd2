"""Whatever the newest checkpoint has become, the run goes on from it to the bit or from the one before, and says so."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import checkpoints
from tests.hostile.many import examples
from tests.hostile.mutations import mutated

MEMORY = 20e6  # bytes that reading a checkpoint of a few kB may take


def resumed(folder):
    """(step, {path: error}) of loading; the arrays and the state must be those that were saved at this step."""
    store = checkpoints.store(folder)
    tracemalloc.start()
    path, arrays, state = store.load_newest()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY and path.name == f"step-{state['step']:08d}.npz"
    for name, value in checkpoints.arrays(state["step"]).items():
        np.testing.assert_array_equal(arrays[name], value)
    assert state == checkpoints.state(state["step"]) and set(arrays) == set(checkpoints.arrays(0))
    for name in checkpoints.WEIGHTS:
        np.testing.assert_array_equal(store.best_weights[name], checkpoints.arrays(3)[name])
    return state["step"], {path.name: error for path, error in store.damaged.items()}


@pytest.mark.parametrize("kind", checkpoints.KINDS)
def test_the_one_before_is_used_the_error_names_the_file_and_training_goes_on(tmp_path, kind):
    checkpoints.write(tmp_path)
    newest = tmp_path / checkpoints.NEWEST
    checkpoints.KINDS[kind](newest)
    step, errors = resumed(tmp_path)
    assert step == 3 and str(newest) in errors[checkpoints.NEWEST] and len(errors[checkpoints.NEWEST]) < 1000
    store = checkpoints.store(tmp_path)
    store.load_newest()
    store.save(6, checkpoints.arrays(6), checkpoints.state(6))  # at the same place
    assert resumed(tmp_path) == (6, {})


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a link to itself", "step -5", "weights of NaN", "deflated"])
def test_if_there_is_none_before_it_the_run_stops_with_a_sentence(tmp_path, kind):
    checkpoints.write(tmp_path)
    (tmp_path / checkpoints.OLDER).unlink()
    checkpoints.KINDS[kind](tmp_path / checkpoints.NEWEST)
    with pytest.raises(ValueError, match=f"{checkpoints.NEWEST} .* Remove {tmp_path} to begin the run again"):
        checkpoints.store(tmp_path).load_newest()


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a link to nothing", "cut in half", "weights of NaN", "empty"])
def test_damaged_best_weights_stop_the_run_too(tmp_path, kind):
    checkpoints.write(tmp_path)
    checkpoints.KINDS[kind](tmp_path / "best-0000.npz")
    with pytest.raises(ValueError, match="best-0000.npz .* to begin the run again"):
        checkpoints.store(tmp_path).load_newest()


@pytest.mark.parametrize("kind", ["a pipe", "a link to itself", "text"])
def test_a_folder_of_checkpoints_that_is_none_is_named(tmp_path, kind):
    folder = tmp_path / "checkpoints"
    folder.write_text("")
    checkpoints.KINDS[kind](folder)
    with pytest.raises(ValueError, match=f"{folder} is not a folder of checkpoints"):
        checkpoints.store(folder).load_newest()


def test_what_somebody_left_in_a_folder_of_that_name_stays(tmp_path):
    checkpoints.write(tmp_path)
    checkpoints.KINDS["a folder"](tmp_path / checkpoints.NEWEST)
    store = checkpoints.store(tmp_path)
    store.load_newest()
    store.save(6, checkpoints.arrays(6), checkpoints.state(6))
    assert [path.read_text() for path in tmp_path.glob("*/note.txt")] == ["somebody's"]


def test_checkpoints_without_a_checksum_are_resumed(tmp_path):
    checkpoints.write(tmp_path)
    checkpoints.said()(tmp_path / checkpoints.NEWEST)
    assert resumed(tmp_path) == (6, {})


def check_bytes(folder, contents, data):
    """A file of a whole checkpoint's bytes after a few changes."""
    (folder / checkpoints.NEWEST).write_bytes(data.draw(mutated(contents)))
    step, errors = resumed(folder)
    assert (step == 3) == bool(errors)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["step", "epoch", "a"]), inner),
    max_leaves=5,
)


def places(value, path=()):
    """The places of a JSON value, as tuples of keys."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def check_states(folder, data):
    """A file without a checksum in which one thing that the state says, or all of it, is another."""
    said = {"state": checkpoints.state(6)}
    *way, last = data.draw(st.sampled_from([place for place in places(said) if place]))
    at = said
    for key in way:
        at = at[key]
    before, at[last] = at[last], data.draw(JSON)
    checkpoints.savez(folder / checkpoints.NEWEST, checkpoints.arrays(6), said["state"])
    store = checkpoints.store(folder)
    path, _, state = store.load_newest()
    assert path.name == checkpoints.OLDER or state["step"] == 6 and len(state["history"]) == 2
    if type(at[last]) is not type(before) and {type(at[last]), type(before)} != {int, float}:
        assert path.name == checkpoints.OLDER


@pytest.fixture
def contents(tmp_path):
    """Bytes of a checkpoint with a checksum, and of one without."""
    checkpoints.write(tmp_path)
    path = tmp_path / checkpoints.NEWEST
    whole = path.read_bytes()
    checkpoints.said()(path)
    return [whole, path.read_bytes()]


@pytest.mark.parametrize("count", [30, pytest.param(5000, marks=pytest.mark.slow)])
def test_changed_bytes(tmp_path, contents, count):
    examples(count)(given(st.data())(lambda data: check_bytes(tmp_path, contents, data)))()


@pytest.mark.parametrize("count", [30, pytest.param(5000, marks=pytest.mark.slow)])
def test_changed_states(tmp_path, contents, count):
    examples(count)(given(st.data())(lambda data: check_states(tmp_path, data)))()
