import io
import os
import resource
import signal

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from keras_vit.prediction.predictor import Predictor
from keras_vit.sources.run_folder import Run, read_entries
from keras_vit.system.files import held
from keras_vit.training import finish, trainer
from keras_vit.training.pipeline import batches
from keras_vit.training.pipeline.sizes import sizes_of
from keras_vit.training.run import checkpoint
from keras_vit.training.run.signals import Stopped
from keras_vit.training.step import distribute, step
from tests.training import toy

EPOCHS, STEPS = 3, 3  # of the toy's run; steps per epoch


@pytest.fixture
def recipe(tmp_path):
    return toy.recipe(data_dir=str(toy.write_folder(tmp_path / "data")), epochs=EPOCHS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(recipe, run folder) of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = toy.recipe(data_dir=str(toy.write_folder(folder / "data")), epochs=EPOCHS)
    train(recipe, folder / "run")
    return recipe, folder / "run"


@pytest.fixture
def loop_only(monkeypatch):
    """Read the images once for all tests, and skip what follows the last epoch."""
    monkeypatch.setattr(batches, "prepare", lambda split, spec, **limits: prepared(split.names, spec, split, **limits))
    monkeypatch.setattr(trainer, "finish", lambda *args: None)


PREPARED = {}


def prepared(names, spec, split, prepare=batches.prepare, **limits):
    return PREPARED.setdefault(names, prepare(split, spec, **limits))


def train(recipe, folder):
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    return trainer.train(recipe, folder, out), out.file.getvalue()


def test_a_run_folder_is_complete_and_a_finished_run_is_reported(tmp_path, recipe):
    results, text = train(recipe.replace(epochs=2), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert (run.model_name, run.labels, run.spec.size) == ("Toy", ("blue", "green", "red"), (8, 8))
    images = run.test_images()
    assert len(images) == results["n_images"] == 4
    assert all(path.is_file() for path, _ in images)
    names = {path.name for path in run.path.iterdir()}
    assert names >= {"summary.csv", "args.yaml", "curves.png", "held_out.png", "results.csv", "tensorboard"}
    assert "2 x CPU" in text and "8 (4 per device)" in text and "epoch   2/2" in text
    again, text = train(recipe.replace(epochs=2), tmp_path / "run")
    assert again == results and "is finished. Test accuracy" in text and "epoch" not in text


def test_a_run_with_several_labels_decides_by_its_validation_split(tmp_path):
    recipe = toy.recipe(data_dir=str(toy.write_manifest(tmp_path / "data")), **toy.SEVERAL)
    results, text = train(recipe, tmp_path / "run")
    run, entries = Run.open(tmp_path / "run"), read_entries(tmp_path / "run" / "run.json")
    assert run.multi_label and len(run.thresholds) == 3 and run.unknown["score"] == "energy"
    assert (
        set(results) >= {"map", "micro_f1", "macro_f1"}
        and "Test mAP" in text
        and not (run.path / "results.csv").exists()
    )
    store = checkpoint.Store(run.path / "checkpoints", 2)
    best, _ = checkpoint.load(store.best_path(entries["best_epoch"]))
    (trained,) = (value for name, value in best.items() if name.endswith("head/kernel"))
    saved, _ = run.load_model().get_layer("head").get_weights()
    np.testing.assert_allclose(saved * entries["temperature"], trained, rtol=1e-5)
    images = run.test_images()
    probabilities = Predictor.open(run.path).predict([path for path, _ in images])
    labels = np.array([[k in label for k in range(3)] for _, label in images])
    assert results == results | finish.measure(probabilities, labels, run.thresholds)


def test_a_folder_that_another_run_writes_to_is_refused(tmp_path, recipe):
    folder = tmp_path / "run"
    folder.mkdir()
    with held(folder):
        with pytest.raises(ValueError, match="is being written to by another process"):
            train(recipe, folder)
    assert all(path.name.startswith(".") for path in folder.iterdir())  # nothing but the lock


@pytest.fixture
def seen(monkeypatch):
    """The sizes of the images of the steps of a run, in order."""
    found, original = [], step.make_train_step

    def make(*args, **options):
        take = original(*args, **options)

        def watched(micro_batches, number, stop):
            images, *_ = args[0].experimental_local_results(micro_batches[0][0])
            found.append(tuple(images.shape[1:3]))
            return take(micro_batches, number, stop)

        return watched

    monkeypatch.setattr(step, "make_train_step", make)
    return found


GROWING = {"img_size": None, "img_size_schedule": "4x6@0,8@0.6"}


def test_a_run_over_growing_sizes_is_validated_and_saved_at_the_last(tmp_path, recipe, seen, loop_only, monkeypatch):
    monkeypatch.setattr(distribute, "make_strategy", lambda cluster: tf.distribute.MirroredStrategy(["CPU:0"]))
    recipe = recipe.replace(**GROWING)
    _, text = train(recipe, tmp_path / "whole")
    assert seen == [(4, 6)] * 5 + [(8, 8)] * 4
    assert "images of 8 x 8 pixels from step 6 on" in text and "4 x 6 pixels, 8 x 8 after 1.667 epochs" in text
    run = Run.open(tmp_path / "whole")
    assert run.spec.size == (8, 8) and run.load_model().input_shape == (None, 8, 8, 3)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [GROWING, {"multi_scale": "4,6x8,8", "grad_accum_steps": 2, "mixup": 0.8}])
@pytest.mark.parametrize("call", [2, 5, 6, 8])  # the sizes change after step 5
def test_a_run_over_sizes_that_was_stopped_takes_the_same_sizes(
    tmp_path, recipe, seen, loop_only, monkeypatch, settings, call
):
    recipe = recipe.replace(recovery_interval=1, **settings)
    train(recipe, tmp_path / "whole")
    planned = sizes_of(recipe, (8, 8), STEPS)
    assert seen == [planned.at(number) for number in range(EPOCHS * STEPS)] and len(set(seen)) > 1
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_at(patch, "after_step", call)
        train(recipe, tmp_path / "stopped")
    seen.clear()
    assert f"continuing after step {call - 1}" in train(recipe, tmp_path / "stopped")[1]
    assert seen == [planned.at(number) for number in range(call - 1, EPOCHS * STEPS)]
    toy.assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.slow  # quickstart's accuracy says it too
def test_colours_are_learned(tmp_path, recipe):
    still = {"drop": 0.0, "smoothing": 0.0, "shift": 0.0}
    results, _ = train(recipe.replace(epochs=8, lr=1e-2, **still), tmp_path / "run")
    assert results["top1"] == 100


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow),  # of single steps: tests/training/step/test_step.py
        pytest.param({"multi_scale": "4,6x8,8"}, marks=pytest.mark.slow),
        pytest.param({"loss": "focal", "class_weights": "balanced", "sampler": "sqrt"}, marks=pytest.mark.slow),
        pytest.param(toy.SEVERAL, marks=pytest.mark.slow),
    ],
)
def test_devices_and_micro_batches_do_not_change_what_is_learned(tmp_path, whole, loop_only, monkeypatch, settings):
    if settings.get("dataset") == "csv":
        settings = settings | {"data_dir": str(toy.write_manifest(tmp_path / "data"))}
    still = whole[0].replace(drop=0.0, mixup=0.8, cutmix=1.0, reprob=0.5, grad_accum_steps=2, **settings)
    train(still, tmp_path / "two")
    monkeypatch.setattr(distribute, "make_strategy", lambda cluster: tf.distribute.MirroredStrategy(["CPU:0"]))
    train(still.replace(grad_accum_steps=1), tmp_path / "one")
    (arrays, rows), (others, other_rows) = toy.last(tmp_path / "one"), toy.last(tmp_path / "two")
    for a, b in zip(rows, other_rows):
        assert a == pytest.approx(b, rel=1e-4)
    for name, value in arrays.items():
        np.testing.assert_allclose(value, others[name], atol=1e-4, err_msg=name)


class Stop(Exception):
    pass


def stop_at(monkeypatch, method, call):
    """Raise Stop at the given call of a method of the trainer."""
    original, calls = getattr(trainer.Trainer, method), []

    def stopping(self, *args):
        calls.append(args)
        if len(calls) == call:
            raise Stop
        return original(self, *args)

    monkeypatch.setattr(trainer.Trainer, method, stopping)


def assert_continues(whole, folder, where, interval=0):
    """Go on with a stopped run; it must end as the whole one."""
    recipe, other = whole
    _, text = train(recipe.replace(recovery_interval=interval), folder)
    assert f"continuing after step {where}" in text
    toy.assert_same_run(other, folder)


@pytest.mark.parametrize(
    "method, call, interval, where",
    [
        pytest.param("after_step", 5, 2, "4, in epoch 2", marks=pytest.mark.slow),  # within an epoch; a signal below
        pytest.param("evaluate", 2, 0, "3, in epoch 2", marks=pytest.mark.slow),  # back to the last epoch's end
        pytest.param(
            "save_model", 2, 1, "6, in epoch 3", marks=pytest.mark.slow
        ),  # after the checkpoint, before model.keras
    ],
)
def test_a_stopped_run_ends_as_one_that_was_not(tmp_path, whole, loop_only, monkeypatch, method, call, interval, where):
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_at(patch, method, call)
        train(whole[0].replace(recovery_interval=interval), tmp_path / "stopped")
    assert_continues(whole, tmp_path / "stopped", where, interval)


@pytest.mark.parametrize(
    "number, method, call, where",
    [
        (15, "after_step", 5, "5, in epoch 2"),
        pytest.param(2, "evaluate", 1, "3, in epoch 1", marks=pytest.mark.slow),
        pytest.param(1, "after_step", 4, "4, in epoch 2", marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_stops_after_the_step(tmp_path, whole, loop_only, monkeypatch, number, method, call, where):
    original, calls = getattr(trainer.Trainer, method), []

    def signalled(self, *args):
        calls.append(args)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return original(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match=f"saved after step {where[0]}; the same") as stop:
        patch.setattr(trainer.Trainer, method, signalled)
        train(whole[0], tmp_path / "run")
    assert stop.value.number == number and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert_continues(whole, tmp_path / "run", where)


@pytest.mark.slow
def test_a_lost_worker_is_noticed_in_steps_and_in_the_evaluation(tmp_path, recipe, loop_only, monkeypatch):
    calls = []

    def check_others(strategy):
        calls.append(strategy)
        if len(calls) == 4:  # three steps, and a batch of the evaluation
            raise ConnectionError("Worker 1 at b:1 is gone.")

    monkeypatch.setattr(trainer.distribute, "check_others", check_others)
    with pytest.raises(ConnectionError, match="Worker 1 at b:1"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "summary.csv").exists()


@pytest.mark.slow  # test_settings has when it ends
@pytest.mark.parametrize("call", [None, 2, 7])
def test_a_run_that_learns_nothing_ends_early_also_if_it_was_stopped(tmp_path, recipe, loop_only, monkeypatch, call):
    still = {"lr": 1e-30, "min_lr": 0.0, "weight_decay": 0.0, "epochs": 9, "early_stopping": 2}
    if call is not None:
        with monkeypatch.context() as patch, pytest.raises(Stop):
            stop_at(patch, "after_step", call)
            train(recipe.replace(**still), tmp_path / "run")
    _, text = train(recipe.replace(**still), tmp_path / "run")
    assert "early stopping  after 2 epochs without a better top1" in text
    assert "ended after epoch 3: none was better than epoch 1 since" in text
    assert [row["epoch"] for row in toy.last(tmp_path / "run")[1]] == [0, 1, 2]


@pytest.mark.slow  # test_checkpoint has when it is due
def test_a_checkpoint_is_due_after_minutes_too(tmp_path, whole, loop_only, monkeypatch):
    saved, original = [], trainer.Trainer.save_checkpoint
    monkeypatch.setattr(trainer.Trainer, "save_checkpoint", lambda self: (saved.append(self.step), original(self)))
    train(whole[0].replace(recovery_minutes=1e-9, epochs=1), tmp_path / "run")
    assert saved == [1, 2, 3]


@pytest.mark.slow  # run/test_checkpoint has which is used
def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_used(tmp_path, whole, loop_only, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_at(patch, "after_step", 8)
        train(whole[0], tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000006.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    _, text = train(whole[0], tmp_path / "run")
    assert f"{newest} is not a complete checkpoint" in text and "The checkpoint before it is used." in text
    assert "continuing after step 3, in epoch 2" in text
    toy.assert_same_run(whole[1], tmp_path / "run")


@pytest.mark.slow  # run/test_checkpoint has the error
def test_a_full_disk_leaves_the_epoch_before(tmp_path, whole, loop_only, monkeypatch):
    limits, original = resource.getrlimit(resource.RLIMIT_FSIZE), trainer.Trainer.save_epoch

    def save_epoch(self, row):
        if len(self.history) == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
        return original(self, row)

    monkeypatch.setattr(trainer.Trainer, "save_epoch", save_epoch)
    try:
        with pytest.raises(OSError, match="could not be written: .*Checkpoints written before are intact"):
            train(whole[0], tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.setattr(trainer.Trainer, "save_epoch", original)
    assert_continues(whole, tmp_path / "run", "3, in epoch 2")


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float32"},
        pytest.param({"precision": "float16", "grad_accum_steps": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_value_that_is_not_finite_stops_the_run_and_names_step_and_layer(
    tmp_path, whole, loop_only, monkeypatch, settings
):
    original = trainer.Trainer.after_step

    def poison(self):
        if self.step == 4:
            kernel = self.state.model.get_layer("head").kernel
            kernel.assign(np.full(kernel.shape, np.nan))
        original(self)

    monkeypatch.setattr(trainer.Trainer, "after_step", poison)
    message = "Step 5: loss nan, gradient norm nan; the output of layer 'head' is the first that is not finite. The run"
    with pytest.raises(FloatingPointError, match=message):
        train(whole[0].replace(**settings), tmp_path / "run")
    _, rows = toy.last(tmp_path / "run")
    assert len(rows) == 1


@pytest.mark.slow  # its parts are tested in pipeline/
def test_a_corrupt_image_is_named_counted_and_listed(tmp_path, recipe):
    for i in range(12, 40):  # so that one of them is below the fraction
        (tmp_path / "data" / "red" / f"{i}.png").write_bytes((tmp_path / "data" / "red" / "00.png").read_bytes())
    broken = tmp_path / "data" / "red" / "05.png"
    broken.write_bytes(broken.read_bytes()[:50])
    settings = recipe.replace(epochs=1, max_bad_fraction=0.3, cache_megabytes=0)
    results, text = train(settings, tmp_path / "run")
    assert results["bad_pictures"] == 1 and "1 unreadable left out" in text
    assert str(broken) in (tmp_path / "run" / "bad_files.txt").read_text()
    (
        tmp_path / "run" / "run.json"
    ).unlink()  # as if stopped before the end: the image is not read again, but still recorded
    written = (tmp_path / "run" / "results.csv").read_text()
    assert train(settings, tmp_path / "run")[0]["bad_pictures"] == 1
    assert str(broken) in (tmp_path / "run" / "bad_files.txt").read_text()
    assert (tmp_path / "run" / "results.csv").read_text() == written  # no second line


def test_bad_input_leaves_nothing_behind(tmp_path, recipe):
    for path in (tmp_path / "data" / "red").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be decoded, more than max_bad_fraction"):
        train(recipe, tmp_path / "run")
    with pytest.raises(ValueError, match="batch_size"):
        train(recipe.replace(batch_size=7, max_bad_fraction=0.9), tmp_path / "run")
    assert not (tmp_path / "run").exists()
