"""Training of keras_vit's models under tf.distribute: recipes, the trainer, and the packages that it uses.

    datasets/      which images, which labels, which split
    pipeline/      from an index to a batch of pixels
    augmentation/  what changes an image
    step/          one update
    run/           what a user sees of a run, and what a restart needs
    recipes/       one file per recipe

    from keras_vit.training import recipe, train
    photos = recipe.load("finetune").replace(dataset="folder", data_dir="photos")
    train(photos, "runs/photos")

`keras-vit train` is the same from the command line. Needs the TensorFlow backend of Keras and the extra `[train]`.
"""

import importlib

_HOME = {  # public name -> the module that has it, which is imported when the name is first used
    "CallbackError": "keras_vit.training.run.callbacks",
    "find_lr": "keras_vit.training.lr_finder",
    "train": "keras_vit.training.trainer",
    "write_average": "keras_vit.training.averaging",
}


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'keras_vit.training' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value
