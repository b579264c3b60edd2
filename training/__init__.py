"""Training of keras_vit's models under tf.distribute: recipes, data, the trainer and what it leaves in a run folder.

    from keras_vit.training import recipe, trainer
    trainer.train(recipe.load("quickstart"), "runs/digits")

`keras-vit train` is the same from the command line. Needs the TensorFlow backend of Keras and the extra `[train]`.
"""
