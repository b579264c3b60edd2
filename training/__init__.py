"""Training of keras_vit's models under tf.distribute: recipes, the trainer, and the packages that it uses.

    datasets/      which images, which labels, which split
    pipeline/      from an index to a batch of pixels
    augmentation/  what changes an image
    step/          one update
    run/           what a user sees of a run, and what a restart needs
    recipes/       one file per recipe

    from keras_vit.training import recipe, trainer
    trainer.train(recipe.load("quickstart"), "runs/digits")

`keras-vit train` is the same from the command line. Needs the TensorFlow backend of Keras and the extra `[train]`.
"""
