"""How good a `Predictor` is on pictures whose classes are known: accuracy, confusions, calibration."""

from keras_vit.evaluation.metrics import accuracy
from keras_vit.evaluation.pictures import find_pictures
from keras_vit.evaluation.predictions import Predictions, evaluate

__all__ = ["Predictions", "accuracy", "evaluate", "find_pictures"]
