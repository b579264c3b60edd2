"""The trainer: recipe and folder in, run folder out; the same command again continues where the last one stopped.

    checkpoints/   what the run continues from, see `checkpoint.Store`: after every epoch, and within long ones
    model.keras    the weights of the best epoch as a model for users; see keras_vit.runs for the rest of the folder

Order of writing after an epoch: best weights, checkpoint, model.keras. Whatever the moment of a kill, the newest
checkpoint names best weights that exist, and model.keras is written again from them when the run continues.
"""

import contextlib
import dataclasses
import time
from pathlib import Path

import numpy as np

from keras_vit.files import atomic_file, held
from keras_vit.training import checkpoint, data, devices, diagnose, distill, logs, model, plan, step
from keras_vit.training.finish import finish, read_results, report
from keras_vit.training.header import header
from keras_vit.training.progress import Progress
from keras_vit.training.signals import Stopped, StopRequest
from keras_vit.training.state import State
from keras_vit.training.sums import EpochSums, NotFinite
from keras_vit.training.watchdog import Watchdog

LOOK = 10  # steps between two looks at the losses where nothing is drawn: a look waits for the device


def train(recipe, output, console=None):
    """Train `recipe` under tf.distribute into the run folder `output`; resumes if it holds a part of this run.

    Args:
        console: a rich.console.Console for the progress; standard output if None.
    Output: what run.json says of the held-out part: top1 and top5 in percent, correct, n_images.
    Raises: ValueError for data, options or a folder that do not fit; FloatingPointError naming the step and the layer
        if a loss or gradient is not finite (the last checkpoint stays); ConnectionError if another worker is gone;
        Stopped after SIGTERM or Ctrl-C, when everything is saved.
    """
    prepare_process(recipe)
    strategy = devices.make_strategy()
    folder = Path(output).absolute()
    data_set, spec = data.load(recipe), model.spec_of(recipe)
    settings = plan.settings_of(recipe, data_set, spec)
    resumed = plan.check_folder(folder, settings)
    if resumed and (results := read_results(folder)):
        Progress(0, 0, 0, console).say(f"{folder} is finished. {report(results)}")
        return results
    trainer = Trainer(plan.make(recipe, folder, data_set, spec, settings, strategy), console)
    with contextlib.ExitStack() as stack:
        if trainer.plan.chief:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder))
            trainer.plan = plan.write_folder(trainer.plan)
        stack.enter_context(devices.telling_lost_workers(strategy))
        trainer.fit()
        if trainer.plan.chief:
            finish(trainer.plan, trainer.history, trainer.progress)
        devices.barrier(strategy)
    return read_results(folder)


class Trainer:
    """The state of a run: what is trained, the step, the epochs done, the best of them; and its loop."""

    def __init__(self, decided, console=None):
        recipe, classes = decided.recipe, decided.data_set.classes
        with decided.strategy.scope():
            self.state = State.build(recipe, len(classes), decided.spec, decided.steps)
            self.teacher = distill.open_teacher(recipe, decided.spec, classes)
        recipe = recipe.replace(xla=model.compiles(recipe))
        self.plan = dataclasses.replace(decided, recipe=recipe)
        self.train_step = step.make_train_step(decided.strategy, self.state, recipe, self.teacher)
        self.eval_step = step.make_eval_step(decided.strategy, self.state, xla=recipe.xla)
        self.progress = Progress(recipe.epochs, decided.steps, decided.batch_size, console, quiet=not decided.chief)
        self.store = checkpoint.Store(decided.folder / "checkpoints", recipe.checkpoint_hist)
        self.watchdog = Watchdog(decided.stalled, recipe.watchdog_minutes, self.progress.say)
        self.asked, self.saved_at = StopRequest(), time.monotonic()
        self.step, self.sums, self.history, self.best = 0, EpochSums(0), [], None

    def fit(self):
        """All steps and epochs that are still to do."""
        self.resume()
        self.progress.header(header(self.plan, self.state.model))
        for part, file, reason in self.plan.bad:
            self.progress.say(f"replaced in {part}: {file} ({reason})")
        if self.step:
            self.progress.say(f"continuing after step {self.step}, in epoch {len(self.history) + 1}")
        batches = iter(self.distribute(self.training_batches(self.step)))
        judged = self.distribute(data.evaluation_batches(self.plan.val, self.plan.eval_batch_size, self.plan.worker))
        board = logs.TensorBoard(self.plan.folder if self.plan.chief else None)
        with self.progress, board, self.watchdog, self.asked:
            while len(self.history) < self.plan.recipe.epochs:
                row = {"epoch": len(self.history), **self.train_epoch(batches)}
                row |= self.evaluate(judged)
                improved = self.keep(row)
                board.write(row)
                self.progress.epoch(row, improved)

    def training_batches(self, start):
        """This worker's batches from a step on."""
        return data.training_batches(self.plan.train, self.plan.recipe, self.plan.batch_size, start, self.plan.worker)

    def distribute(self, batches):
        """Successive batches for successive replicas."""
        return self.plan.strategy.distribute_datasets_from_function(lambda context: batches)

    def train_epoch(self, batches):
        """The steps of an epoch that are still to do; its means. FloatingPointError for a loss that is not finite."""
        import tensorflow as tf

        start = time.monotonic() - self.sums.totals["seconds"]
        while self.step < (len(self.history) + 1) * self.plan.steps:
            parts = tuple(next(batches) for _ in range(self.plan.recipe.grad_accum_steps))
            stop = tf.constant(0.0 if self.asked.number is None else 1.0)
            self.sums.add(self.train_step(parts, tf.constant(self.step, tf.int64), stop))
            self.step += 1
            self.watchdog.beat(f"step {self.step + 1}")
            self.sums.totals["seconds"] = time.monotonic() - start
            self.after_step()
        return self.sums.row(self.plan.batch_size) | {"lr": float(self.state.optimizer.learning_rate)}

    def after_step(self):
        """Look at the losses, draw, save and stop, when it is time."""
        ended = self.step % self.plan.steps == 0
        if ended or self.step % LOOK == 0 or (self.plan.worker.count == 1 and self.progress.due()):
            self.look()
            self.progress.step(self.step, self.sums.row(self.plan.batch_size))
        if not ended and self.save_due():
            self.save()
        self.stop_if_asked()

    def look(self):
        """Fetch the pending losses; where one is not finite, find the layer, and stop the run."""
        try:
            self.sums.settle()
        except NotFinite as error:
            where = self.explain(error.step)
            raise FloatingPointError(
                f"{error}; {where}. The run stops; the last checkpoint stays. "
                "Try a lower lr, a longer warm-up or a smaller clip_grad."
            ) from error

    def explain(self, number):
        """What in step `number` was not finite, in words."""
        count = self.plan.worker.replicas * self.plan.recipe.grad_accum_steps
        batches = self.training_batches(number).take(count)
        return diagnose.explain(self.state, self.plan.recipe, batches, number, self.plan.worker, self.teacher)

    def save_due(self):
        """Whether a checkpoint within the epoch is due."""
        interval, minutes = self.plan.recipe.recovery_interval, self.plan.recipe.recovery_minutes
        waited = time.monotonic() - self.saved_at
        return bool(interval and self.step % interval == 0) or bool(minutes and waited >= 60 * minutes)

    def stop_if_asked(self):
        """Save and raise Stopped after a signal. Several workers stop together, at a look that told all of them."""
        if self.sums.stop if self.plan.worker.count > 1 else self.asked.number is not None:
            self.save()
            raise Stopped(self.step, self.asked.number)

    def evaluate(self, batches):
        """Loss and accuracy (in percent) on the validation part, each picture counted once."""
        sums = []
        for batch in batches:
            sums.append(self.eval_step(*batch))
            self.watchdog.beat(f"the evaluation after step {self.step}")
            self.stop_if_asked()
        total = np.sum([one.numpy() for one in sums], axis=0, dtype="float64")
        self.plan.check_pictures()
        loss, top1, top5 = (float(value / total[3]) for value in total[:3])
        if not np.isfinite(loss):
            raise FloatingPointError("The validation loss is not finite; the last checkpoint stays.")
        return {"eval_loss": loss, "eval_top1": 100 * top1, "eval_top5": 100 * top5}

    def keep(self, row):
        """Checkpoints and summary after an epoch; whether it is the best so far."""
        self.history.append(row)
        self.sums = EpochSums(self.step)
        rank = self.plan.recipe.rank
        improved = self.best is None or rank(row) > rank(self.best)
        self.best = row if improved else self.best
        if self.plan.chief:
            weights = self.state.judged() if improved else None
            if improved:
                self.store.save_best(row["epoch"], weights)
            self.save()
            if improved:
                self.save_model(weights)
            logs.write_summary(self.plan.folder, self.history)
            logs.write_bad_files(self.plan.folder, self.plan.bad)
        return improved

    def save(self):
        """A checkpoint of this moment."""
        self.look()
        if self.plan.chief:
            arrays = {name: v.numpy() for name, v in self.state.named().items()}
            facts = {"step": self.step, "history": self.history, "best": self.best, "sums": self.sums.totals}
            facts["bad"] = {part: quarantine.state() for part, quarantine in self.plan.quarantines.items()}
            self.store.save(self.step, arrays, facts)
        self.saved_at = time.monotonic()

    def resume(self):
        """Take up the state of the newest complete checkpoint, if there is one."""
        found = self.store.load_newest()
        devices.agree(self.plan.strategy, found[2]["step"] if found else 0)
        for what in self.store.damaged.values():
            self.progress.say(f"{what} The checkpoint before it is taken.")
        if found is None:
            return
        path, arrays, facts = found
        checkpoint.restore(self.state.named(), arrays, path)
        self.step, self.history, self.best = facts["step"], facts["history"], facts["best"]
        self.sums = EpochSums(self.step, facts["sums"])
        for part, quarantine in self.plan.quarantines.items():
            quarantine.take_up(facts["bad"][part])
        if self.plan.chief and self.best:
            self.save_model(checkpoint.load(self.store.best_path(self.best["epoch"]))[0])
            logs.write_summary(self.plan.folder, self.history)

    def save_model(self, weights):
        """model.keras with the weights of a best epoch."""
        saved = model.build_for_saving(self.plan.recipe, len(self.plan.data_set.classes), self.plan.spec)
        saved.set_weights([weights[name] for name in self.state.names()])
        with atomic_file(self.plan.folder / "model.keras") as temporary:
            saved.save(temporary)


def prepare_process(recipe):
    """Seed what draws the initial weights, and ask for determinism if the recipe does.

    Raises: ValueError on another backend than TensorFlow's, where tf.distribute lives.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Training runs on Keras' TensorFlow backend, where tf.distribute lives. Received: "
            f"{keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
