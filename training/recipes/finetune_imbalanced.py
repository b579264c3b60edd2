"""Fine-tune on classes of very different sizes.

    keras-vit train --recipe finetune_imbalanced --data-dir photos --output runs/photos

As finetune, and classes are drawn in proportion to the square root of their images, so that rare ones are seen more
often; the best epoch is the one with the best balanced accuracy. `--class-weights effective` weighs the loss instead
or as well.

Time and accuracy: depend on the images; `python -m examples.uneven_classes` compares the remedies on a thinned
Fashion-MNIST. Expected top-1: no published figure; not reproduced here.
"""

from keras_vit.training.recipes import finetune

RECIPE = finetune.RECIPE.replace(sampler="sqrt", eval_metric="balanced_accuracy")
