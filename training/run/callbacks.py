"""Plain `keras.callbacks.Callback`s in a run: they see its epochs and batches as under `fit`.

Hooks come in the order of `fit`: on_train_begin; of every epoch on_epoch_begin, the on_train_batch_* of its steps,
on_test_begin, the on_test_batch_*, on_test_end, on_epoch_end; on_train_end. `self.model` is the model that is trained,
whose outputs are logits; `self.params` has epochs, steps and verbose=0. A callback that sets `self.model.stop_training`
ends the run as under `fit`: after the batch, whose epoch is then evaluated, or after the epoch.

What a callback keeps is its own: a run that is resumed calls on_train_begin of callbacks that have seen nothing.
"""

import keras

FRACTIONS = {"train_top1": "accuracy", "eval_top1": "val_accuracy"}  # of an epoch's row, where it is in percent
VALUES = {"train_loss": "loss", "eval_loss": "val_loss", "lr": "learning_rate"}


class CallbackError(RuntimeError):
    """A callback raised an exception; the run is saved."""


class Callbacks:
    """The callbacks of a run.

    Args:
        callbacks: a sequence of `keras.callbacks.Callback`.
        model: the model that is trained.
        params: dictionary, their `self.params`.
        save: function that is called before a `CallbackError` is raised: it saves the run.

    Attributes:
        watch_steps: whether any of them looks at the steps' metrics, which then are fetched after each.
    """

    def __init__(self, callbacks, model, params, save):
        self.callbacks, self.model, self.params, self.save = check_callbacks(callbacks), model, params, save
        self.watch_steps = any(_overrides(callback, "train_batch_end", "batch_end") for callback in self.callbacks)
        self.last_logs = {}

    def begin(self, optimizer):
        """Give them the model, which has the optimizer from now on, and call on_train_begin."""
        if not self.callbacks:
            return
        self.model.optimizer, self.model.stop_training = optimizer, False
        self("set_params", dict(self.params))
        self("set_model", self.model)
        self("on_train_begin", {})

    def __call__(self, hook, *arguments):
        """Call a hook of each, in order.

        Raises:
            CallbackError: naming the callback and the hook, if one raises an exception.
        """
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(*arguments)
            except Exception as error:
                self.save()
                raise CallbackError(
                    f"The callback {type(callback).__name__} raised {type(error).__name__} in {hook}: {error} "
                    "The run is saved; without the callback, or once it is corrected, the same call continues it."
                ) from error

    def step_ends(self, step, row):
        """Call on_train_batch_end: the number of the step in its epoch; means over the epoch's steps so far."""
        self("on_train_batch_end", step, as_logs(row))

    def epoch_ends(self, row):
        """Call on_epoch_end with an epoch's row."""
        self.last_logs = as_logs(row)
        self("on_epoch_end", row["epoch"], self.last_logs)

    def end(self):
        """Call on_train_end with the logs of the last epoch."""
        self("on_train_end", self.last_logs)

    @property
    def stop(self):
        """Whether one of them wants the run to end."""
        return bool(self.callbacks) and bool(self.model.stop_training)


def check_callbacks(callbacks):
    """The callbacks as a tuple.

    Raises:
        ValueError: naming what is no `keras.callbacks.Callback`.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                f"callbacks must be instances of keras.callbacks.Callback. Received: {callback!r}"
                f"{', a class: add ()' if isinstance(callback, type) else ''}."
            )
    return tuple(callbacks)


def as_logs(row):
    """A row of the history, or a part of it, as `fit` has it.

    Returns:
        loss, accuracy, val_loss, val_accuracy (accuracies in [0, 1], as in Keras) and learning_rate; further columns
        under their own names, as in summary.csv.
    """
    logs = {}
    for name, value in row.items():
        if name in FRACTIONS:
            logs[FRACTIONS[name]] = value / 100
        elif name != "epoch":
            logs[VALUES.get(name, name)] = value
    return logs


def _overrides(callback, *hooks):
    """Whether a callback has a hook of its own: by its class, or set on the instance as `LambdaCallback` does."""
    for hook in hooks:
        found, default = getattr(callback, f"on_{hook}"), getattr(keras.callbacks.Callback, f"on_{hook}")
        if getattr(found, "__func__", found) is not default:
            return True
    return False
