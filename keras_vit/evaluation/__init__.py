"""Evaluation of a `Predictor` on labelled images: accuracy, confusions, calibration."""

from keras_vit.evaluation.images import find_images
from keras_vit.evaluation.metrics import accuracy
from keras_vit.evaluation.predictions import Predictions, evaluate

__all__ = ["Predictions", "accuracy", "evaluate", "find_images"]
