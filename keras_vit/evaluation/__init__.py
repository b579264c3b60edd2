"""Evaluation of a `Predictor` on labelled images: accuracy, confusions, calibration, several labels, unknown images."""

from keras_vit.evaluation.images import find_images
from keras_vit.evaluation.metrics import accuracy
from keras_vit.evaluation.predictions import MultiLabelPredictions, Predictions, evaluate

__all__ = ["MultiLabelPredictions", "Predictions", "accuracy", "evaluate", "find_images"]
