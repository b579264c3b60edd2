"""What an epoch measures on the validation split: the columns eval_... of its row in summary.csv, in percent."""

import numpy as np

from keras_vit.evaluation import multilabel
from keras_vit.evaluation.tallies import Tallies


def row_of_sums(per_batch):
    """The row of images with one label each.

    Args:
        per_batch: what `step.measure_sums` gave for each batch, float32 (4 + 3 K,).
    Returns:
        {"eval_loss": ..., ...}: loss, top-1, top-5, balanced accuracy, macro F1.
    """
    total = np.sum([np.asarray(sums) for sums in per_batch], axis=0, dtype="float64")
    loss, top1, top5 = total[:3] / total[3]
    hits, predicted, images = np.rint(total[4:]).astype("int64").reshape(3, -1)
    tallies = Tallies(hits, images, predicted)
    return {
        "eval_loss": float(loss),
        "eval_top1": float(100 * top1),
        "eval_top5": float(100 * top5),
        "eval_balanced_accuracy": 100 * tallies.balanced_accuracy,
        "eval_macro_f1": 100 * tallies.macro_f1,
    }


def row_of_scores(per_batch):
    """The row of images with several labels.

    Args:
        per_batch: (losses (B,), logits (B, K), labels (B, K), weights (B,)) of each batch.
    Returns:
        {"eval_loss": ..., ...}: loss, mean average precision, micro and macro F1 at a probability of 0.5.
    """
    losses, logits, labels, weights = (np.concatenate(column) for column in zip(*per_batch))
    counted = weights > 0
    losses, logits, labels = losses[counted], logits[counted], labels[counted]
    tallies = multilabel.tally_several(logits, labels, 0.0)  # the logit of 0.5
    return {
        "eval_loss": float(losses.mean(dtype="float64")),
        "eval_map": 100 * multilabel.mean_average_precision(logits, labels),
        "eval_micro_f1": 100 * tallies.micro_f1,
        "eval_macro_f1": 100 * tallies.macro_f1,
    }
