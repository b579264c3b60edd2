"""The trainer: recipe and folder in, run folder out; the same command again continues where the last epoch ended.

    checkpoints/last.npz         model, optimizer, epoch, history, best so far; replaced after every epoch
    checkpoints/best-0007.npz    weights of the epoch with the best validation accuracy (lower loss if equal)
    model.keras                  those weights as a model for users; see keras_vit.runs for the rest of the folder

Order of writing: best, last, model.keras. Whatever the moment of a kill, last.npz names a best file that exists,
and model.keras is written again from it when the run continues.
"""

import time
from pathlib import Path

import numpy as np

from keras_vit.files import atomic_file
from keras_vit.training import checkpoint, data, logs, model, optimizer, plan, step
from keras_vit.training.finish import finish, read_results, report
from keras_vit.training.progress import Progress

PENDING = 50  # steps between two looks at the losses, where nothing is drawn


def train(recipe, output, console=None):
    """Train `recipe` under tf.distribute into the run folder `output`; resumes if it holds a part of this run.

    Args:
        console: a rich.console.Console for the progress; standard output if None.
    Output: what run.json says of the held-out part: top1 and top5 in percent, correct, n_images.
    Raises: ValueError for data, options or a folder that do not fit; FloatingPointError naming the step if the loss
        is not finite (the last checkpoint stays).
    """
    _require_tensorflow_backend()
    folder = Path(output).absolute()
    data_set, spec = data.load(recipe), model.spec_of(recipe)
    settings = plan.settings_of(recipe, data_set, spec)
    resumed = plan.check_folder(folder, settings)
    if resumed and (results := read_results(folder)):
        Progress(0, 0, 0, console).say(f"{folder} is finished. {report(results)}")
        return results
    _set_seeds(recipe)
    decided = plan.make(recipe, folder, data_set, spec, settings)
    trainer = Trainer(decided, console)
    trainer.plan = plan.write_folder(decided)
    trainer.fit()
    return finish(trainer.plan, trainer.history, trainer.progress)


class Trainer:
    """The state of a run: model, optimizer, history, best epoch; and its loop."""

    def __init__(self, decided, console=None):
        self.plan, recipe = decided, decided.recipe
        classes = len(decided.data_set.classes)
        with decided.strategy.scope():
            self.model = model.build_for_training(recipe, classes, decided.spec)
            variables = self.model.trainable_variables
            self.optimizer = optimizer.make(recipe, variables, decided.steps)
        self.saved = model.build_for_saving(recipe, classes, decided.spec)
        self.train_step = step.make_train_step(decided.strategy, self.model, self.optimizer, recipe)
        self.eval_step = step.make_eval_step(decided.strategy, self.model, xla=recipe.xla)
        self.progress = Progress(recipe.epochs, decided.steps, decided.batch_size, console)
        self.history, self.best = [], None

    def fit(self):
        """All epochs that are still to do."""
        self.resume()
        self.progress.header(self.header())
        for part, file, reason in self.plan.bad:
            self.progress.say(f"left out of {part}: {file} ({reason})")
        if self.history:
            self.progress.say(f"continuing after epoch {len(self.history)}")
        batches = iter(self.distribute(self.train_set()))
        judged = self.distribute(data.evaluation_batches(self.plan.val, self.plan.batch_size))
        with self.progress, logs.TensorBoard(self.plan.folder) as board:
            for epoch in range(len(self.history), self.plan.recipe.epochs):
                row = {"epoch": epoch, **self.train_epoch(epoch, batches)}
                row |= self.evaluate(judged)
                improved = self.keep(row)
                board.write(row)
                self.progress.epoch(row, improved)

    def train_set(self):
        """The batches from the next epoch on."""
        start, size = len(self.history) * self.plan.steps, self.plan.batch_size
        return data.training_batches(self.plan.train, self.plan.recipe, size, start)

    def distribute(self, dataset):
        """The dataset with its batches divided among the replicas."""
        return self.plan.strategy.experimental_distribute_dataset(dataset)

    def train_epoch(self, epoch, batches):
        """One epoch of steps; its means. FloatingPointError at the first loss that is not finite."""
        import tensorflow as tf

        start, sums = time.monotonic(), EpochSums(epoch * self.plan.steps)
        for number in range(self.plan.steps):
            images, labels, _, _ = next(batches)
            absolute = tf.constant(epoch * self.plan.steps + number, tf.int64)
            sums.add(self.train_step(images, labels, absolute))
            last = number + 1 == self.plan.steps
            if last or self.progress.due() or len(sums.pending) == PENDING:
                sums.settle()
                loss, accuracy = sums.loss(), sums.accuracy(self.plan.batch_size)
                self.progress.step(epoch, number, loss, accuracy)
        seconds = time.monotonic() - start
        return {
            "train_loss": sums.loss(),
            "train_top1": 100 * sums.accuracy(self.plan.batch_size),
            "gradient_norm": sums.norm(),
            "lr": float(self.optimizer.learning_rate),
            "seconds": seconds,
            "images_per_second": self.plan.steps * self.plan.batch_size / seconds,
        }

    def evaluate(self, batches):
        """Loss and accuracy (in percent) on the validation part, each picture counted once."""
        total = sum(self.eval_step(*batch).numpy() for batch in batches)
        loss, top1, top5 = (float(value) / float(total[3]) for value in total[:3])
        if not np.isfinite(loss):
            raise FloatingPointError("The validation loss is not finite; the last checkpoint stays.")
        return {"eval_loss": loss, "eval_top1": 100 * top1, "eval_top5": 100 * top5}

    def keep(self, row):
        """Checkpoints and summary after an epoch; whether it is the best so far."""
        self.history.append(row)
        improved = self.best is None or _rank(row) > _rank(self.best)
        previous, self.best = self.best, row if improved else self.best
        if improved:
            arrays = checkpoint.arrays_of(checkpoint.variables_of(self.model))
            checkpoint.save(self.best_path(row), arrays, {"epoch": row["epoch"]})
        self.save_last()
        if improved:
            self.save_model(arrays)
            if previous:
                self.best_path(previous).unlink(missing_ok=True)
        logs.write_summary(self.plan.folder, self.history)
        return improved

    def save_last(self):
        """checkpoints/last.npz."""
        variables = checkpoint.variables_of(self.model, self.optimizer)
        state = {"history": self.history, "best": self.best, "seed": self.plan.recipe.seed}
        checkpoint.save(self.last_path(), checkpoint.arrays_of(variables), state)

    def resume(self):
        """Take up the state of checkpoints/last.npz, if there is one."""
        if not self.last_path().is_file():
            return
        arrays, state = checkpoint.load(self.last_path())
        variables = checkpoint.variables_of(self.model, self.optimizer)
        checkpoint.restore(variables, arrays, self.last_path())
        self.history, self.best = state["history"], state["best"]
        self.save_model(checkpoint.load(self.best_path(self.best))[0])
        for path in self.last_path().parent.glob("best-*.npz"):
            if path != self.best_path(self.best):
                path.unlink()
        logs.write_summary(self.plan.folder, self.history)

    def save_model(self, arrays):
        """model.keras with the weights of a best checkpoint."""
        self.saved.set_weights([arrays[name] for name in checkpoint.variables_of(self.model)])
        with atomic_file(self.plan.folder / "model.keras") as temporary:
            self.saved.save(temporary)

    def last_path(self):
        """The checkpoint that a run continues from."""
        return self.plan.folder / "checkpoints" / "last.npz"

    def best_path(self, row):
        """The best weights, as of the epoch in `row`."""
        return self.plan.folder / "checkpoints" / f"best-{row['epoch']:04d}.npz"

    def header(self):
        """What a person should know before the first step."""
        decided, recipe = self.plan, self.plan.recipe
        devices = decided.strategy.extended.worker_devices
        replicas = len(devices)
        parts = decided.data_set.parts()
        kind = devices[0].split("device:")[-1].split(":")[0]
        return {
            "model": f"{decided.settings['model']}, {self.model.count_params():,} parameters",
            "weights": decided.settings["weights"] or "from scratch",
            "data": f"{decided.data_set.name}, {len(decided.data_set.classes)} classes, "
            + ", ".join(f"{len(part):,} {name.replace('_', ' ')}" for name, part in parts.items()),
            "pictures": f"{decided.spec.size[0]} x {decided.spec.size[1]} pixels",
            "devices": f"{replicas} x {kind}, {recipe.precision}, XLA {'on' if recipe.xla else 'off'}",
            "batch": f"{decided.batch_size} ({decided.batch_size // replicas} per device)",
            "steps": f"{recipe.epochs} epochs x {decided.steps} = {recipe.epochs * decided.steps}",
            "learning rate": f"up to {recipe.lr:g} in {recipe.warmup_epochs:g} epochs, "
            f"cosine to {recipe.min_lr:g}",
            "output": str(decided.folder),
        }


class EpochSums:
    """Sums over the steps of an epoch; looks at them in groups, because a look waits for the device."""

    def __init__(self, first_step):
        self.next_step, self.pending = first_step, []
        self.steps, self.totals = 0, np.zeros(3)  # loss, correct, norm

    def add(self, scalars):
        """A step's loss, correct and norm, as tensors."""
        self.pending.append(scalars)

    def settle(self):
        """Fetch what is pending; FloatingPointError naming the step of a loss or gradient that is not finite."""
        for scalars in self.pending:
            values = np.array([float(scalars[name]) for name in ("loss", "correct", "norm")])
            if not np.isfinite(values).all():
                raise FloatingPointError(
                    f"Step {self.next_step}: loss {values[0]:g}, gradient norm {values[2]:g}. "
                    "The run stops; the checkpoint of the last epoch stays. Try a lower lr, "
                    "a longer warm-up or a smaller clip_grad."
                )
            self.totals += values
            self.steps += 1
            self.next_step += 1
        self.pending.clear()

    def loss(self):
        """Mean so far."""
        return float(self.totals[0] / self.steps)

    def accuracy(self, batch_size):
        """Fraction correct so far."""
        return float(self.totals[1] / (self.steps * batch_size))

    def norm(self):
        """Mean norm of the gradient so far."""
        return float(self.totals[2] / self.steps)


def _rank(row):
    return (row["eval_top1"], -row["eval_loss"])


def _require_tensorflow_backend():
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Training runs on Keras' TensorFlow backend, where tf.distribute lives. Received: "
            f"{keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
        )


def _set_seeds(recipe):
    """Seed what draws the initial weights, and ask for determinism if the recipe does."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
