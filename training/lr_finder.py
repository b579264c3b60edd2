"""A learning-rate finder: the loss while the rate rises from nearly nothing to far too much, as a curve.

Smith: Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186, Sec. 3.3. There the rate rises linearly
over a few epochs; here it is multiplied by the same factor at every step, so that all orders of magnitude get as many,
and the loss is smoothed. The suggestion is a tenth of the rate at which the smoothed loss is lowest: still well below
where it diverges. It is a start, not an optimum; the curve says how much room there is.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_vit.system.files import held
from keras_vit.system.graphs import without_autograph
from keras_vit.training import micro_batches
from keras_vit.training import plan as plans
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.pipeline.streams import Streams
from keras_vit.training.run import figures, logs
from keras_vit.training.run.progress import Progress
from keras_vit.training.step import cluster as clusters
from keras_vit.training.step import distribute, model
from keras_vit.training.step.step import METRICS
from keras_vit.training.trainer import Trainer, try_out

SMOOTHING = 0.9  # share of the mean so far at each step
DIVERGED = 4.0  # times the lowest smoothed loss: then the rest of the rates is not tried
COLUMNS = ("step", "lr", "loss", "smoothed_loss")


@dataclass(frozen=True)
class LRCurve:
    """What the loss was at each rate."""

    rates: np.ndarray  # float64 (n,), ascending
    losses: np.ndarray  # float64 (n,), of the batch of each step
    smoothed: np.ndarray  # float64 (n,)

    @property
    def suggestion(self):
        """A tenth of the rate at which the smoothed loss is lowest."""
        return float(self.rates[int(np.argmin(self.smoothed))]) / 10


@keras.saving.register_keras_serializable("keras_vit")
class Exponential(keras.optimizers.schedules.LearningRateSchedule):
    """From `lowest` at step 0 to `highest` at the last of `steps`, by the same factor at every step."""

    def __init__(self, lowest, highest, steps):
        self.lowest, self.highest, self.steps = lowest, highest, steps

    def __call__(self, step):
        done = ops.cast(step, "float32") / max(1, self.steps - 1)
        return self.lowest * ops.exp(done * math.log(self.highest / self.lowest))

    def get_config(self):
        return {"lowest": self.lowest, "highest": self.highest, "steps": self.steps}


@without_autograph
def find_lr(recipe, folder, steps=100, lowest=1e-6, highest=1.0, console=None):
    """Train a copy of the recipe's model for a few steps at rising rates; write lr_finder.png and lr_finder.csv.

    Batch, optimizer, augmentation and loss are the recipe's; with `layer_decay`, lower layers have lower rates, as in
    its run. The model is dropped afterwards: a run into the same folder begins as if there had been no finder.

    Args:
        recipe: a `Recipe`; its lr and schedule are not looked at, and of several sizes the last is trained.
        folder: where the two files go; made if it does not exist.
        steps: updates, 10 at least.
        lowest, highest: rates of the first and of the last step.
        console: as for `trainer.train`.
    Returns:
        An `LRCurve`.
    Raises:
        ValueError: for data and options that do not fit, on several workers, and if the loss is not finite from the
            start.
    """
    if steps < 10 or not 0 < lowest < highest:
        raise ValueError(
            f"Expected 10 steps or more, and 0 < lowest < highest. Received: steps={steps}, lowest={lowest:g}, "
            f"highest={highest:g}."
        )
    folder = Path(folder).absolute()
    plan = _plan(recipe, folder, steps, console)
    trainer = Trainer(plan, console)
    trainer.state.optimizer.learning_rate = schedule = Exponential(lowest, highest, steps)
    losses = []
    with trainer.progress, trainer.watchdog:
        for loss in _losses(trainer, steps):
            losses.append(loss)
            if not math.isfinite(loss) or smoothed(losses)[-1] > DIVERGED * smoothed(losses).min():
                break
    count = len(losses) - (not math.isfinite(losses[-1]))
    if count < 2:
        raise ValueError("The loss is not finite at the lowest rates; look for the cause before the rate.")
    rates = np.array([float(schedule(step)) for step in range(count)])
    curve = LRCurve(rates, np.array(losses[:count]), smoothed(losses[:count]))
    _write(folder, curve, f"{plan.settings['model']} on {plan.data_set.name}, {recipe.opt}, batch of {plan.batch_size}")
    trainer.progress.log(
        f"{count} steps from lr {lowest:g} to {rates[-1]:.3g}; the loss is lowest near {10 * curve.suggestion:.2g}. "
        f"Suggestion: lr {curve.suggestion:.2g}. {folder / plans.LR_FINDER[0]}"
    )
    return curve


def smoothed(losses):
    """Exponential means of losses (n,) -> float64 (n,), divided by the sum of their weights, as Adam's moments are."""
    mean, means = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means.append(mean / (1 - SMOOTHING**step))
    return np.array(means)


def _plan(recipe, folder, steps, console):
    distribute.prepare_process(recipe)
    cluster = clusters.of_recipe(recipe, os.environ)
    if cluster and len(cluster.addresses) > 1:
        raise ValueError(
            f"The learning-rate finder runs on one machine. {cluster.source} names {len(cluster.addresses)} workers; "
            "give --cluster none."
        )
    strategy = distribute.make_strategy()
    spec = model.spec_of(recipe)
    recipe = recipe.replace(img_size=spec.size, img_size_schedule=None, epochs=steps, warmup_epochs=0)
    data_set = load_dataset(recipe)
    plan = plans.make(recipe, folder, data_set, spec, plans.settings_of(recipe, data_set, spec), strategy)
    if recipe.grad_accum_steps == "auto":
        plan = micro_batches.fitted(plan, try_out, Progress(0, 0, 0, console).log)
    return plan


def _losses(trainer, steps):
    """The loss of each step, fetched after it."""
    import tensorflow as tf

    plan = trainer.plan
    batches = Streams(
        plan.sizes,
        lambda size, step: iter(trainer.distribute(plan.training_batches(step, size))),
        plan.recipe.grad_accum_steps,
    )
    for step in range(steps):
        metrics = trainer.train_step(batches.take(step), tf.constant(step, tf.int64), tf.constant(0.0))
        trainer.watchdog.beat(f"step {step + 2}")
        yield float(metrics.numpy()[METRICS.index("loss")])


def _write(folder, curve, title):
    folder.mkdir(parents=True, exist_ok=True)
    figure, table = plans.LR_FINDER
    with held(folder):
        rows = zip(range(len(curve.rates)), *(a.tolist() for a in (curve.rates, curve.losses, curve.smoothed)))
        logs.write_csv(folder / table, COLUMNS, [dict(zip(COLUMNS, row)) for row in rows])
        figures.save_rates(folder / figure, curve, title)
