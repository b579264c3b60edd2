import io

import keras
import numpy as np
import pytest
from rich.console import Console

from keras_vit.training import trainer
from keras_vit.training.run.callbacks import CallbackError, Callbacks, as_logs
from tests.training import toy

EPOCHS, STEPS = 3, 3


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    data = toy.write_folder(tmp_path_factory.mktemp("callbacks") / "data")
    return toy.recipe(data_dir=str(data), epochs=EPOCHS)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """The folder of a run without callbacks."""
    folder = tmp_path_factory.mktemp("callbacks") / "whole"
    train(recipe, folder)
    return folder


@pytest.fixture(autouse=True)
def loop_only(monkeypatch):
    """Skip what follows the last epoch; nothing is measured on the test split."""
    monkeypatch.setattr(trainer, "finish", lambda *args: None)


def train(recipe, folder, *callbacks):
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    trainer.train(recipe, folder, out, callbacks=callbacks)
    return out.file.getvalue()


class Recorder(keras.callbacks.Callback):
    """Notes every hook of training."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append(("on_train_begin", None, logs))

    def on_train_end(self, logs=None):
        self.calls.append(("on_train_end", None, logs))

    def on_test_begin(self, logs=None):
        self.calls.append(("on_test_begin", None, logs))

    def on_test_end(self, logs=None):
        self.calls.append(("on_test_end", None, logs))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("on_epoch_begin", epoch, logs))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("on_epoch_end", epoch, logs))

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("on_train_batch_begin", batch, logs))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("on_train_batch_end", batch, logs))


def hooks(calls):
    return [(hook, number) for hook, number, _ in calls]


def under_fit(epochs, steps):
    """The calls that `fit` makes, by fit itself."""
    recorder, model = Recorder(), keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.zeros((steps, 2)), np.zeros((steps, 1))
    model.fit(x, y, batch_size=1, epochs=epochs, validation_data=(x, y), callbacks=[recorder], verbose=0)
    return hooks(recorder.calls)


@pytest.fixture(scope="module")
def seen(recipe, whole, tmp_path_factory):
    """(the calls, the folder) of the run with callbacks that only look on."""
    folder, recorder = tmp_path_factory.mktemp("callbacks") / "seen", Recorder()
    history, lines = keras.callbacks.History(), []
    printer = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: lines.append(logs["val_loss"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "finish", lambda *args: None)
        train(recipe, folder, recorder, history, printer)
    assert lines == history.history["val_loss"]
    return recorder, folder


@pytest.mark.slow  # Keras traces fit twice
def test_hooks_come_as_under_fit(seen):
    assert hooks(seen[0].calls) == under_fit(EPOCHS, STEPS)
    assert seen[0].params == {"epochs": EPOCHS, "steps": STEPS, "verbose": 0}
    assert seen[0].model.name == "toy"


@pytest.mark.slow
def test_callbacks_that_look_on_change_nothing(seen, whole):
    toy.assert_same_run(whole, seen[1])


@pytest.mark.slow
def test_logs_are_those_of_the_history(seen):
    (_, rows), calls = toy.last(seen[1]), seen[0].calls
    epochs = [logs for hook, _, logs in calls if hook == "on_epoch_end"]
    for row, logs in zip(rows, epochs, strict=True):
        assert (logs["loss"], logs["val_loss"]) == (row["train_loss"], row["eval_loss"])
        assert (100 * logs["accuracy"], 100 * logs["val_accuracy"]) == (row["train_top1"], row["eval_top1"])
        assert (logs["learning_rate"], logs["eval_top5"]) == (row["lr"], row["eval_top5"])
    last = [logs for hook, batch, logs in calls if hook == "on_train_batch_end" and batch == STEPS - 1]
    assert [logs["loss"] for logs in last] == [row["train_loss"] for row in rows]
    assert calls[-1] == ("on_train_end", None, epochs[-1])


def test_rows_of_several_labels_keep_their_names():
    assert as_logs({"epoch": 3, "train_loss": 2.0, "eval_map": 50.0}) == {"loss": 2.0, "eval_map": 50.0}


class StopAt(keras.callbacks.Callback):
    """Ends the run in a hook of an epoch, perhaps at a batch of it."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.where, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.model.stop_training |= (self.epoch, batch) == self.where

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training |= (epoch, None) == self.where


@pytest.mark.slow
@pytest.mark.parametrize("where, epochs, step", [((1, None), 2, 6), ((1, 1), 2, 5)])
def test_a_callback_ends_the_run_and_a_resumed_run_stays_ended(recipe, tmp_path, where, epochs, step):
    assert f"ended in epoch {epochs}: a callback" in train(recipe, tmp_path / "run", StopAt(*where))
    arrays, rows = toy.last(tmp_path / "run")
    assert len(rows) == epochs and (tmp_path / "run" / "checkpoints" / f"step-{step:08d}.npz").is_file()
    text = train(recipe, tmp_path / "run")  # what comes behind the epochs was not done yet
    assert f"continuing after step {step}" in text and "ended in epoch 2: a callback" in text
    assert len(toy.last(tmp_path / "run")[1]) == epochs


class Failing(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyError("val_acuracy")


class FailingInABatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise ZeroDivisionError


@pytest.mark.slow
@pytest.mark.parametrize(
    "callback, message, step",
    [
        (Failing, "The callback Failing raised KeyError in on_epoch_end: 'val_acuracy'", 6),
        (FailingInABatch, "The callback FailingInABatch raised ZeroDivisionError in on_train_batch_end", 2),
    ],
)
def test_a_callback_that_raises_is_named_and_nothing_is_lost(recipe, whole, tmp_path, callback, message, step):
    with pytest.raises(CallbackError, match=message):
        train(recipe, tmp_path / "run", callback())
    assert f"continuing after step {step}, in epoch {1 + step // STEPS}" in train(recipe, tmp_path / "run")
    toy.assert_same_run(whole, tmp_path / "run")


@pytest.mark.slow
def test_keras_own_callbacks_work(recipe, tmp_path):
    path = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.EarlyStopping("val_accuracy", patience=1, baseline=1.1, mode="max"),  # which nothing reaches
        keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "board"),
        keras.callbacks.TerminateOnNaN(),
    ]
    train(recipe, tmp_path / "run", *callbacks)
    assert len(toy.last(tmp_path / "run")[1]) == 2  # Keras waits for a second epoch in any case
    assert (tmp_path / "board").is_dir()
    assert keras.models.load_model(path).name == "toy" and "val_accuracy" in (tmp_path / "log.csv").read_text()


@pytest.mark.slow
def test_a_rate_that_the_schedule_sets_is_not_a_callbacks(recipe, tmp_path):
    with pytest.raises(CallbackError, match="LearningRateScheduler raised TypeError in on_epoch_begin.*Schedule"):
        train(recipe, tmp_path / "run", keras.callbacks.LearningRateScheduler(lambda epoch: 0.1))


@pytest.mark.parametrize("given, message", [([print], "Received: <built-in"), ([Recorder], r"a class: add \(\)")])
def test_what_is_no_callback_is_refused_before_anything_is_written(recipe, tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        train(recipe, tmp_path / "run", *given)
    assert not (tmp_path / "run").exists()


def test_the_run_is_saved_before_a_callbacks_error_is_raised():
    saved, model = [], keras.Sequential([keras.layers.Dense(1)])
    callbacks = Callbacks([Recorder(), Failing()], model, {}, lambda: saved.append(True))
    callbacks.begin(None)
    callbacks.epoch_ends({"epoch": 0})
    assert not saved and callbacks.watch_steps and not callbacks.stop
    with pytest.raises(CallbackError, match="The callback Failing raised KeyError in on_epoch_end: 'val_acuracy' The"):
        callbacks.epoch_ends({"epoch": 1})
    model.stop_training = True
    assert saved == [True] and callbacks.stop


def test_steps_are_watched_only_for_a_callback_that_looks_at_them():
    lambdas = {name: keras.callbacks.LambdaCallback(**{name: print}) for name in ("on_epoch_end", "on_train_batch_end")}
    watched = [Callbacks([callback], None, {}, None).watch_steps for callback in lambdas.values()]
    assert watched == [False, True] and not Callbacks([StopAt(1)], None, {}, None).watch_steps
    assert Callbacks([FailingInABatch()], None, {}, None).watch_steps and not Callbacks([], None, {}, None).stop
