import re
from dataclasses import replace

import pytest
import tensorflow as tf

from keras_vit.training import micro_batches, plan, trainer
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.pipeline.sampler import Worker
from keras_vit.training.run import logs
from keras_vit.training.step import distribute, model
from tests.training import toy

SIZES = {1: 64, 2: 32, 4: 16, 8: 8, 16: 4, 32: 2, 64: 1}


def search(limit, base=100, each=10, said_by_device=False):
    """(what is found where a micro-batch of n images takes base + each n bytes, the candidates that were tried)."""
    tried = []

    def peak_of(count):
        tried.append(count)
        peak = base + each * SIZES[count]
        return None if said_by_device and peak > limit else peak

    return micro_batches.find(SIZES, peak_of, None if said_by_device else limit, said_by_device), tried


@pytest.mark.parametrize("limit, count", [(10**6, 1), (740, 1), (739, 2), (300, 4), (150, 16), (110, 64)])
@pytest.mark.parametrize("said_by_device", [False, True])
def test_the_fewest_micro_batches_that_fit_are_found(limit, count, said_by_device):
    found, tried = search(limit, said_by_device=said_by_device)
    assert (found.count, found.peak) == (count, 100 + 10 * SIZES[count])
    if said_by_device:
        assert tried == list(SIZES)[: list(SIZES).index(count) + 1]
    else:  # two small ones, and the one that they promise; none that would take more than there is
        assert len(tried) <= 3 and all(100 + 10 * SIZES[one] <= limit or SIZES[one] <= 4 for one in tried)


def test_where_memory_grows_faster_than_the_line_the_next_is_taken():
    measured = {64: 10, 16: 40, 1: 900, 2: 600, 4: 300}
    found = micro_batches.find({1: 64, 2: 32, 4: 16, 16: 4, 64: 1}, measured.get, 500, False)
    assert (found.count, found.peak) == (4, 300)


@pytest.mark.parametrize("said_by_device, rest", [(False, ": a step takes 0.00 GiB of 0.00 GiB"), (True, "")])
def test_nothing_that_fits_is_an_error_with_remedies(said_by_device, rest):
    with pytest.raises(ValueError, match=f"micro-batch of 1 images fits into memory{rest}. Give grad_checkpointing"):
        search(105, said_by_device=said_by_device)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The plan of a run of which the micro-batches are to be found."""
    folder = tmp_path_factory.mktemp("micro")
    recipe = toy.recipe(data_dir=str(toy.write_folder(folder / "data")), grad_accum_steps="auto", batch_size=24)
    data_set, spec = load_dataset(recipe), model.spec_of(recipe)
    settings = plan.settings_of(recipe, data_set, spec)
    return plan.make(recipe, folder / "run", data_set, spec, settings, distribute.make_strategy())


def changed(first, **changes):
    return replace(first, recipe=first.recipe.replace(**changes))


def test_candidates_divide_the_batch_among_devices_and_leave_pairs(first):
    assert micro_batches.candidates(first) == {1: 12, 2: 6, 3: 4, 4: 3, 6: 2, 12: 1}
    assert micro_batches.candidates(changed(first, mixup=0.8)) == {1: 12, 2: 6, 3: 4, 6: 2}
    assert micro_batches.candidates(changed(first, batch_size=64))[2] == 7  # of 28 images


def test_the_limit_is_what_is_given_or_most_of_what_is_free():
    assert micro_batches.memory_limit(toy.recipe(memory_gigabytes=0.5), True) == 2**29
    assert micro_batches.memory_limit(toy.recipe(), True) is None
    assert 2**28 < micro_batches.memory_limit(toy.recipe(), False) < 2**44


@pytest.mark.slow
def test_what_a_device_refuses_does_not_fit_and_other_errors_are_errors(first):
    def attempt(plan):
        if plan.recipe.grad_accum_steps < 4:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    lines = []
    fitted = micro_batches.fitted(first, attempt, lines.append)
    assert (fitted.recipe.grad_accum_steps, fitted.batch_size, fitted.settings["micro_batches"]) == (4, 24, 4)
    assert re.match(r"grad_accum_steps=auto: 4 of 3 images per device; a step takes [\d.]+ GiB of", lines[0])
    assert fitted.settings["grad_accum_steps"] == "auto"
    with pytest.raises(ZeroDivisionError):
        micro_batches.fitted(first, lambda plan: 1 / 0, lines.append)


def test_a_run_that_has_begun_keeps_its_number(first):
    first.folder.mkdir()
    logs.write_settings(first.folder, plan.with_micro_batches(first, 4).settings)
    again = micro_batches.fitted(first, None, None)
    assert again.recipe.grad_accum_steps == 4
    assert plan.check_folder(first.folder, first.settings)


def test_several_workers_need_a_number(first):
    several = replace(first, worker=Worker(0, 2, 1), folder=first.folder / "none")
    with pytest.raises(ValueError, match="several workers need a number"):
        micro_batches.fitted(several, None, None)


@pytest.mark.slow
def test_a_run_whose_micro_batches_are_found_is_the_run_with_that_number(tmp_path, monkeypatch):
    monkeypatch.setattr(micro_batches, "find", lambda sizes, peak_of, *_: micro_batches.Found(2, peak_of(2), None))
    data = str(toy.write_folder(tmp_path / "data"))
    recipe = toy.recipe(data_dir=data, deterministic=True)
    trainer.train(recipe.replace(batch_size="auto"), tmp_path / "found")
    trainer.train(recipe.replace(grad_accum_steps=2), tmp_path / "given")
    toy.assert_same_run(tmp_path / "found", tmp_path / "given")
