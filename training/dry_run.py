"""A run before it starts: its plan, printed, and its first batch as a figure."""

import keras
import numpy as np

from keras_vit.system.graphs import without_autograph
from keras_vit.training import plan as plans
from keras_vit.training.datasets.load import load_dataset
from keras_vit.training.run import figures
from keras_vit.training.run.header import header
from keras_vit.training.run.progress import Progress
from keras_vit.training.step import distribute, model
from keras_vit.training.step.losses import Objective

SHOWN = 64  # images at most


@without_autograph
def dry_run(recipe, folder, console=None):
    """Print the header of `trainer.train`, and write dry_run.png into `folder`; nothing else is written.

    Returns:
        The path of the figure.
    Raises:
        ValueError: as `trainer.train` does, for data and options that do not fit.
    """
    keras.utils.set_random_seed(recipe.seed)
    data_set, spec = load_dataset(recipe), model.spec_of(recipe)
    settings = plans.settings_of(recipe, data_set, spec)
    with distribute.waiting(recipe, Progress(0, 0, 0, console).log) as cluster:
        strategy = distribute.make_strategy(cluster)
    plan = plans.make(recipe, folder.absolute(), data_set, spec, settings, strategy)
    with keras.StatelessScope(initialize_variables=False):  # for its shapes only: no weights are downloaded
        network = model.build_for_training(recipe, len(data_set.classes), spec, with_weights=False)
        Objective(network, recipe, plan.sizes.others, **plan.labels)  # a size that it does not take is an error now
    progress = Progress(recipe.epochs, plan.steps, plan.batch_size, console)
    progress.header(header(plan, network))
    if recipe.grad_accum_steps == "auto":
        progress.log("grad_accum_steps=auto: the micro-batches are found when the run begins")
    images, titles = first_batch(plan)
    path = figures.save_batch(
        folder, plans.DRY_RUN, images, titles, f"{settings['model']} on {data_set.name}: first batch"
    )
    progress.log(f"{len(images)} of {plan.batch_size} images of the first batch: {path}")
    return path


def first_batch(plan):
    """(uint8 images (n, H, W, 3), title of each: its classes) from the first batch of a run."""
    images, labels, partners, weights = [], [], [], []
    for batch in plan.training_batches(0, plan.sizes.at(0)):
        for column, values in zip((images, labels, partners, weights), batch):
            column.extend(values.numpy())
        if len(images) >= min(SHOWN, plan.batch_size // plan.worker.count):
            break
    pixels = (np.array(images[:SHOWN]) * plan.spec.std + plan.spec.mean) * 255
    rows = zip(labels[:SHOWN], partners, weights)
    return np.clip(np.round(pixels), 0, 255).astype("uint8"), [title(plan.data_set.classes, *row) for row in rows]


def title(classes, label, partner, weight):
    """The classes of an image: "cat", or of a mixed one "0.7 cat, 0.3 dog"; of several labels "cat, dog" or "none"."""
    if np.ndim(label):
        shares = weight * np.asarray(label) + (1 - weight) * np.asarray(partner)
        return ", ".join(f"{shares[k]:.1f} " * bool(weight < 1) + classes[k] for k in np.flatnonzero(shares)) or "none"
    if weight == 1:
        return classes[label]
    return f"{weight:.1f} {classes[label]}, {1 - weight:.1f} {classes[partner]}"
