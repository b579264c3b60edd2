"""The trainer: recipe and folder in, run folder out; the same command resumes a run that was stopped.

`train` is a whole run, `Trainer.fit` its epochs, `Trainer.train_epoch` the steps of one. What they leave in the folder:

    checkpoints/   what the run resumes from, see `checkpoint.Store`: after every epoch, and within long ones
    model.keras    the best weights as a model for inference
    ...            the rest is listed in `keras_vit.sources.run_folder`

Order of writing after an epoch: best weights, checkpoint, model.keras. Whenever the process is killed, the best weights
that the newest checkpoint names exist, and model.keras is written from them again when the run is resumed.
"""

import contextlib
import math
import time

import numpy as np

from keras_vit.models.adapters import ADAPTER
from keras_vit.sources import run_folder
from keras_vit.system.files import held
from keras_vit.system.graphs import without_autograph
from keras_vit.training import micro_batches
from keras_vit.training import plan as plans
from keras_vit.training.averaging import epochs_to_keep
from keras_vit.training.datasets import records
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.datasets.splits import NAME_IN_RUNS
from keras_vit.training.finish import finish, read_results, report
from keras_vit.training.pipeline.batches import evaluation_batches
from keras_vit.training.pipeline.sizes import in_words
from keras_vit.training.pipeline.streams import Streams
from keras_vit.training.run import checkpoint, facts, logs, model_file, validation
from keras_vit.training.run.callbacks import Callbacks, as_logs, check_callbacks
from keras_vit.training.run.header import header
from keras_vit.training.run.loggers import Loggers, require_packages
from keras_vit.training.run.metrics import EpochMetrics, NotFinite
from keras_vit.training.run.mirror import Mirror, mirrored
from keras_vit.training.run.progress import Progress, quiet_console
from keras_vit.training.run.signals import Stopped, StopRequest
from keras_vit.training.run.watchdog import Watchdog
from keras_vit.training.step import diagnose, distillation, distribute, model, step
from keras_vit.training.step.state import State

FETCH_EVERY = 10  # steps between two fetches of the metrics, if the live line needs none: fetching waits for the device


@without_autograph
def train(recipe, output, console=None, callbacks=()):
    """Train `recipe` under tf.distribute into the run folder `output`; resume if the folder holds this run.

    Where `output` is a URL, s3://bucket/runs/photos, the run is mirrored there (`keras_vit.training.run.mirror`).

    Args:
        console: a rich.console.Console for the progress; standard output, or the notebook, if None.
        callbacks: `keras.callbacks.Callback`s, called as under `fit`; on each of several workers.
    Returns:
        The results on the test split, as run.json has them: top1 and top5 in percent, correct, n_images.
    Raises:
        ValueError: for data, options or a folder that do not fit.
        FloatingPointError: naming the step and the layer, if a loss or gradient is not finite; the last checkpoint
            stays.
        ConnectionError: naming the worker, if another one is lost.
        CallbackError: naming the callback that raised an exception, when everything is saved.
        ImportError: if the package of one of the recipe's loggers is not installed.
        Stopped: after SIGTERM or Ctrl-C, when everything is saved.
    """
    distribute.prepare_process(recipe)
    require_packages(recipe.loggers)
    check_callbacks(callbacks)
    with records.named_failures(), mirrored(output) as mirror:
        with distribute.waiting(recipe, Progress(0, 0, 0, console).log) as cluster:
            strategy = distribute.make_strategy(cluster)
        mirror.refuse_several(distribute.worker_of(strategy).count)
        with distribute.with_others(strategy, agreed=Stopped):
            results = _train(recipe, mirror, strategy, console, callbacks)
        mirror.finish()
    return results


def _train(recipe, mirror, strategy, console, callbacks):
    """The run of `train`, whose devices and other workers are there."""
    # 1. Decide everything that the recipe leaves open. Nothing is written yet.
    folder = mirror.folder
    data_set, spec = load_dataset(recipe), model.spec_of(recipe)
    settings = plans.settings_of(recipe, data_set, spec)
    exists = plans.check_folder(folder, settings)
    if exists and (results := read_results(folder)):
        Progress(0, 0, 0, console).log(f"{mirror.url or folder} is finished. {report(results)}")
        return results
    plan = plans.make(recipe, folder, data_set, spec, settings, strategy)
    if recipe.grad_accum_steps == "auto":
        plan = micro_batches.fitted(plan, try_out, Progress(0, 0, 0, console, quiet=not plan.chief).log)

    # 2. Build the model, the optimizer and the training and evaluation steps.
    trainer = Trainer(plan, console, callbacks, mirror)

    with contextlib.ExitStack() as stack:
        # 3. Lock the folder and describe the run in it. Of several workers only the chief writes.
        if plan.chief:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder))
            plans.write_folder(plan)
            mirror.push(trainer.progress.log)

        # 4. Train, epoch by epoch.
        trainer.fit()

        # 5. Evaluate the best weights, once, on the test split.
        if plan.chief:
            finish(plan, trainer.history, trainer.progress)
        distribute.barrier(strategy)
    return read_results(folder)


def try_out(plan):
    """Make a step of a plan on images of its largest size, with weights that are thrown away; nothing is written."""
    import tensorflow as tf

    trainer = Trainer(plan, quiet_console())
    number = int(plan.sizes.steps(max(plan.sizes.trained, key=math.prod))[0])
    batches = iter(trainer.distribute(plan.training_batches(number, plan.sizes.at(number))))
    some = tuple(next(batches) for _ in range(min(2, plan.recipe.grad_accum_steps)))  # a sum, and what is added to it
    trainer.train_step(some, tf.constant(number, tf.int64), tf.constant(0.0)).numpy()


class Trainer:
    """The epochs of a run.

    Attributes:
        step: steps done.
        metrics: `EpochMetrics` of the current epoch.
        history: a row per finished epoch, as summary.csv has them.
        best: the row of the best epoch, None before the first.
        asked_to_end: whether a callback ended the run before its last epoch.
    """

    def __init__(self, plan, console=None, callbacks=(), mirror=None):
        self.mirror = mirror or Mirror(plan.folder)
        recipe, classes, self.plan = plan.recipe, plan.data_set.classes, plan
        with plan.strategy.scope():
            self.state = State.build(recipe, len(classes), plan.spec, plan.steps)
            options = {"compiled": plan.compiled, "sizes": plan.sizes.others}
            self.teacher = distillation.open_teacher(recipe, plan.spec, classes, **options)
        self.train_step = step.make_train_step(
            plan.strategy, self.state, recipe, self.teacher, **plan.labels, **options
        )
        self.eval_step = step.make_eval_step(
            plan.strategy, self.state, compiled=plan.compiled, multi_label=plan.data_set.multi_label
        )
        self.progress = Progress(
            recipe.epochs,
            plan.steps,
            plan.batch_size,
            console,
            quiet=not plan.chief,
            work=plan.sizes.work(recipe.epochs),
        )
        images = {NAME_IN_RUNS[split]: len(found.split) for split, found in plan.quarantines.items()}
        self.store = checkpoint.Store(
            plan.folder / run_folder.CHECKPOINTS,
            recipe.checkpoint_hist,
            self.state.named_variables(),
            facts.Bounds(recipe.epochs, plan.steps, images).check,
        )
        self.schedule = checkpoint.Schedule(recipe.recovery_interval, recipe.recovery_minutes)
        self.watchdog = Watchdog(plan.stalled, recipe.watchdog_minutes, self.progress.log)
        self.stop_request = StopRequest()
        self.step, self.history, self.best, self.asked_to_end = 0, [], None, False
        self.metrics = self.epoch_metrics()
        params = {"epochs": recipe.epochs, "steps": plan.steps, "verbose": 0}
        self.callbacks = Callbacks(callbacks, self.state.model, params, self.save_checkpoint)

    def fit(self):
        """Run the epochs that are still to do."""
        # 1. Resume from the newest checkpoint, if there is one.
        self.resume()
        self.print_header()
        train = Streams(
            self.plan.sizes,
            lambda size, step: iter(self.distribute(self.plan.training_batches(step, size))),
            self.plan.recipe.grad_accum_steps,
        )
        validated = self.distribute(
            evaluation_batches(self.plan.validation, self.plan.eval_batch_size, self.plan.worker)
        )
        folder = self.plan.folder if self.plan.chief else None
        loggers = Loggers(self.plan.recipe.loggers, folder, self.plan.settings, self.progress.log)
        with self.progress, loggers, self.watchdog, self.stop_request:
            self.callbacks.begin(self.state.optimizer)
            if self.history:
                loggers.write(self.history[-1])  # which a run that was killed may not have come to
            while self.goes_on():
                # 2. Train on the batches of the epoch.
                self.callbacks("on_epoch_begin", len(self.history), {})
                row = {"epoch": len(self.history), **self.train_epoch(train)}
                # 3. Evaluate on the validation split.
                row |= self.evaluate(validated)
                # 4. Write the best weights, a checkpoint and model.keras.
                improved = self.save_epoch(row)
                # 5. Report.
                loggers.write(row)
                self.progress.epoch(row, improved)
                self.callbacks.epoch_ends(row)
            self.callbacks.end()

    def goes_on(self):
        """Whether there is an epoch to do; if the run ends before its last one, that is said."""
        done, recipe = len(self.history), self.plan.recipe
        if not self.asked_to_end and distribute.any_asks(self.plan.strategy, self.callbacks.stop):
            self.asked_to_end = True
            self.save_checkpoint()
        if self.asked_to_end:
            self.progress.log(f"ended in epoch {done}: a callback asked for it")
        elif done < recipe.epochs and recipe.ends_early(self.history):
            self.progress.log(f"ended after epoch {done}: none was better than epoch {self.best['epoch'] + 1} since")
        else:
            return done < recipe.epochs
        return False

    def train_epoch(self, batches):
        """Run the steps of the epoch that are still to do.

        Args:
            batches: `Streams` of the run's batches.
        Returns:
            The training columns of the epoch's row.
        Raises:
            FloatingPointError: if a loss or gradient is not finite.
        """
        import tensorflow as tf

        start = time.monotonic() - self.metrics.totals["seconds"]
        while self.step < (len(self.history) + 1) * self.plan.steps:
            # 1. Take the step's micro-batches.
            self.callbacks("on_train_batch_begin", self.step % self.plan.steps, {})
            if self.step and (size := self.plan.sizes.begins.get(self.step)):
                self.progress.log(f"images of {in_words(size)} pixels from step {self.step + 1} on")
            micro_batches = batches.take(self.step)
            # 2. Compute the gradient and update the weights. The devices work on while Python goes on.
            stop = tf.constant(0.0 if self.stop_request.number is None else 1.0)
            self.metrics.add(self.train_step(micro_batches, tf.constant(self.step, tf.int64), stop))
            self.step += 1
            self.watchdog.beat(f"step {self.step + 1}")
            distribute.check_others(self.plan.strategy)
            self.metrics.totals["seconds"] = time.monotonic() - start
            # 3. When it is time, fetch the metrics, write a checkpoint, stop.
            self.after_step()
            if self.callbacks.stop and self.plan.worker.count == 1:  # several agree at the end of the epoch
                self.fetch_metrics()
                self.asked_to_end = True
                break
        return self.metrics.row(self.plan.batch_size) | {"lr": float(self.state.optimizer.learning_rate)}

    def after_step(self):
        """Fetch and draw the metrics, write a checkpoint, and stop, each if it is time."""
        epoch_ends = self.step % self.plan.steps == 0
        # A worker learns by fetching that another received a signal; so all workers fetch after the same steps.
        drawn = self.plan.worker.count == 1 and self.progress.due()
        if epoch_ends or self.step % FETCH_EVERY == 0 or drawn or self.callbacks.watch_steps:
            self.fetch_metrics()
            row = self.metrics.row(self.plan.batch_size)
            self.progress.step(self.step, row)
            if self.callbacks.watch_steps:
                self.callbacks.step_ends((self.step - 1) % self.plan.steps, row)
        if not epoch_ends and self.schedule.due(self.step):
            self.save_checkpoint()
        self.stop_if_requested()

    def evaluate(self, batches):
        """The columns of the epoch's row that are measured on the validation split; each image counts once."""
        per_batch = []
        self.callbacks("on_test_begin", {})
        for number, batch in enumerate(batches):
            self.callbacks("on_test_batch_begin", number, {})
            per_batch.append(self.eval_step(*batch))
            self.callbacks("on_test_batch_end", number, {})
            self.watchdog.beat(f"the evaluation after step {self.step}")
            distribute.check_others(self.plan.strategy)
            self.stop_if_requested()
        self.plan.check_images()
        row = (validation.row_of_scores if self.plan.data_set.multi_label else validation.row_of_sums)(per_batch)
        if not np.isfinite(row["eval_loss"]):
            raise FloatingPointError("The validation loss is not finite; the last checkpoint stays.")
        self.callbacks("on_test_end", as_logs(row))
        return row

    def save_epoch(self, row):
        """Add an epoch to the history and write what depends on it.

        Returns:
            Whether it is the best epoch so far.
        """
        self.history.append(row)
        self.metrics = self.epoch_metrics()
        rank = self.plan.recipe.rank
        improved = self.best is None or rank(row) > rank(self.best)
        self.best = row if improved else self.best
        if self.plan.chief:
            averaged = self.plan.recipe.average_hist
            weights = self.state.evaluation_weights() if improved or averaged else None
            if improved:
                self.store.save_best(row["epoch"], weights)
            if averaged:
                self.store.save_epoch(row["epoch"], self.state.saved_weights(weights))
            self.save_checkpoint()
            self.store.prune_epochs(epochs_to_keep(self.history, averaged, rank))
            if improved:
                self.save_model(weights)
            logs.write_summary(self.plan.folder, self.history)
            logs.write_bad_files(self.plan.folder, self.plan.bad)
        return improved

    def save_checkpoint(self):
        """Write the state after the current step. Of several workers only the chief writes."""
        self.fetch_metrics()
        if self.plan.chief:
            arrays = {name: v.numpy() for name, v in self.state.named_variables().items()}
            noted = {"step": self.step, "history": self.history, "best": self.best, "sums": self.metrics.totals}
            noted |= {"ended": True} if self.asked_to_end else {}
            noted["bad"] = {NAME_IN_RUNS[split]: found.state() for split, found in self.plan.quarantines.items()}
            self.store.save(self.step, arrays, noted)
            self.mirror.push(self.progress.log)
        self.schedule.restart()

    def resume(self):
        """Restore the newest complete checkpoint, if there is one."""
        newest = self.store.load_newest()
        distribute.require_same_step(self.plan.strategy, newest[2]["step"] if newest else 0)
        for error in self.store.damaged.values():
            self.progress.log(f"{error} The checkpoint before it is used.")
        if newest is None:
            return
        path, arrays, noted = newest
        checkpoint.restore(self.state.named_variables(), arrays, path)
        self.step, self.history, self.best = noted["step"], noted["history"], noted["best"]
        self.asked_to_end = noted.get("ended") is True
        self.metrics = self.epoch_metrics(noted["sums"])
        for split, quarantine in self.plan.quarantines.items():
            quarantine.load_state(noted["bad"][NAME_IN_RUNS[split]])
        if self.plan.chief and self.best:
            self.save_model(self.store.best_weights)
            logs.write_summary(self.plan.folder, self.history)
        self.store.best_weights = None  # they are as large as the model

    def save_model(self, weights):
        """Write model.keras with the weights of the best epoch."""
        data_set, activation = self.plan.data_set, "sigmoid" if self.plan.data_set.multi_label else "softmax"
        saved = model.build_for_saving(self.plan.recipe, len(data_set.classes), self.plan.spec, activation)
        saved.set_weights(self.state.saved_weights(weights))
        model_file.write(saved, self.plan.folder / run_folder.MODEL)
        if self.plan.recipe.lora_rank is not None:
            self.state.write_adapter(self.plan.folder / ADAPTER, weights, self.plan.adapter)

    def epoch_metrics(self, totals=None):
        """`EpochMetrics` of the epoch of the next step; `totals` of its earlier steps, from a checkpoint."""
        return EpochMetrics(self.step, totals, self.plan.data_set.multi_label)

    def fetch_metrics(self):
        """Fetch the metrics of the last steps; if one is not finite, find the layer and raise FloatingPointError."""
        try:
            self.metrics.flush()
        except NotFinite as error:
            worker, recipe = self.plan.worker, self.plan.recipe
            batches = self.plan.training_batches(error.step, self.plan.sizes.at(error.step))
            batches = batches.take(worker.replicas * recipe.grad_accum_steps)
            cause = diagnose.explain(self.state, recipe, batches, error.step, worker, self.teacher, **self.plan.labels)
            raise FloatingPointError(
                f"{error}; {cause}. The run stops; the last checkpoint stays. "
                "Try a lower lr, a longer warm-up or a smaller clip_grad."
            ) from error

    def stop_if_requested(self):
        """Save and raise Stopped after a signal. Several workers stop together, once the fetched metrics contain it."""
        alone, number = self.plan.worker.count == 1, self.stop_request.number
        if number is not None if alone else self.metrics.stop_requested:
            self.save_checkpoint()
            raise Stopped(self.step, number)

    def print_header(self):
        """Print the plan, the images that are replaced, and where the run is resumed."""
        self.progress.header(header(self.plan, self.state.model))
        for split, file, reason in self.plan.bad:
            self.progress.log(f"replaced in {split}: {file} ({reason})")
        if self.step:
            self.progress.log(f"continuing after step {self.step}, in epoch {len(self.history) + 1}")

    def distribute(self, batches):
        """Distribute successive batches to successive replicas."""
        return self.plan.strategy.distribute_datasets_from_function(lambda context: batches)
