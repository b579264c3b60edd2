"""What the finished model decides by, set on the validation split: its temperature, thresholds, and what is unknown.

temperature  by which the logits are divided; it goes into the weights of the head, so that whatever uses the model has
             it (`evaluation.temperature`)
thresholds   of several labels, per class: an image has the class if its probability is at least that; best by F1
unknown      the score of an image (`prediction.known`) and its threshold, below which it is of none of the classes
"""

import numpy as np

from keras_vit.evaluation import multilabel
from keras_vit.evaluation.temperature import fit_temperature
from keras_vit.models.deit import HEADS
from keras_vit.prediction.known import known_score


def needed(recipe, multi_label):
    """Whether a run decides anything by its validation split."""
    return multi_label or recipe.temperature_scaling or recipe.unknown_score != "none"


def decide(recipe, logits, labels):
    """What a run's model decides by, as run.json has it.

    Args:
        logits: (N, K) of the validation images.
        labels: numbers of their classes (N,), or of several labels per image (N, K).
    Returns:
        A dictionary with temperature, thresholds and unknown, each if the run has it. The last two are of the logits
        that are divided by the temperature.
    """
    decided, logits = {}, np.asarray(logits, "float32")
    if recipe.temperature_scaling:
        decided["temperature"] = fit_temperature(logits, labels)
        logits = logits / np.float32(decided["temperature"])
    if labels.ndim == 2:
        decided["thresholds"] = multilabel.best_thresholds(1 / (1 + np.exp(-logits)), labels).tolist()
    if recipe.unknown_score != "none":
        scores = np.asarray(known_score(logits, recipe.unknown_score))
        threshold = float(np.quantile(scores, 1 - recipe.known_fraction, method="lower"))
        decided["unknown"] = {"score": recipe.unknown_score, "threshold": threshold, "kept": recipe.known_fraction}
    return decided


def divide_logits(model, temperature):
    """Divide the logits of a model by a temperature, in the weights of its heads."""
    for layer in model.layers:
        if layer.name in HEADS:
            layer.set_weights([weight / np.float32(temperature) for weight in layer.get_weights()])
