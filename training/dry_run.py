"""A look at a run before it is one: its plan in words, and the first batch that it would learn from as a picture."""

import keras
import numpy as np

from keras_vit.training import data, devices, model, pictures, plan
from keras_vit.training.header import header
from keras_vit.training.progress import Progress

SHOWN = 64  # pictures at most


def dry_run(recipe, folder, console=None):
    """Print what `trainer.train` would print first, and write dry_run.png into `folder`; nothing else is written.

    Output: the path of the picture.
    Raises: as `trainer.train` does for data and options that do not fit.
    """
    keras.utils.set_random_seed(recipe.seed)
    data_set, spec = data.load(recipe), model.spec_of(recipe)
    settings = plan.settings_of(recipe, data_set, spec)
    made = plan.make(recipe, folder.absolute(), data_set, spec, settings, devices.make_strategy())
    with keras.StatelessScope(initialize_variables=False):  # shapes only; weights would be downloaded
        built = model.build_for_training(recipe.replace(weights=None), len(data_set.classes), spec)
    progress = Progress(recipe.epochs, made.steps, made.batch_size, console)
    progress.header(header(made, built))
    images, titles = first_batch(made)
    path = pictures.save_batch(
        folder, plan.DRY_RUN, images, titles, f"{settings['model']} on {data_set.name}: first batch"
    )
    progress.say(f"{len(images)} of {made.batch_size} pictures of the first batch: {path}")
    return path


def first_batch(made):
    """(uint8 pictures (n, H, W, 3), what each is of) from the first batch of a run."""
    images, labels, partners, weights = [], [], [], []
    for batch in data.training_batches(made.train, made.recipe, made.batch_size, 0, made.worker):
        for column, values in zip((images, labels, partners, weights), batch):
            column.extend(values.numpy())
        if len(images) >= min(SHOWN, made.batch_size // made.worker.count):
            break
    pixels = (np.array(images[:SHOWN]) * made.spec.std + made.spec.mean) * 255
    rows = zip(labels[:SHOWN], partners, weights)
    return np.clip(np.round(pixels), 0, 255).astype("uint8"), [_title(made.data_set.classes, *row) for row in rows]


def _title(classes, label, partner, weight):
    """cat, or 0.7 cat, 0.3 dog."""
    if weight == 1:
        return classes[label]
    return f"{weight:.1f} {classes[label]}, {1 - weight:.1f} {classes[partner]}"
