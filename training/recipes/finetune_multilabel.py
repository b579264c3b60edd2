"""Fine-tune on images with several labels each, named by a manifest.

    keras-vit train --recipe finetune_multilabel --data-dir photos.csv --output runs/photos

The manifest has lines such as `1.jpg,cat|dog`, or a column of 0 and 1 per class. As finetune, with the asymmetric loss
(arXiv:2009.14119), whose labels that an image has not weigh little, as there are many of them; its best epoch is the
one with the best mean average precision.

Time and accuracy: depend on the images; `python -m examples.several_labels` compares losses on pairs of Fashion-MNIST.
Expected mAP: no published figure; not reproduced here.
"""

from keras_vit.training.recipes import finetune

RECIPE = finetune.RECIPE.replace(dataset="csv", loss="asymmetric", smoothing=0.0, eval_metric="map")
