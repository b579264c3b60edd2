"""Looking into models and taking them apart: what they have learned, where they look, pyramids, counts."""

from keras_vit.analysis.biases import relative_position_biases
from keras_vit.analysis.counts import count
from keras_vit.analysis.figures import (
    plot_effective_receptive_field,
    plot_patch_filters,
    plot_position_similarity,
    plot_relative_position_biases,
    plot_relevance,
)
from keras_vit.analysis.filters import patch_filters
from keras_vit.analysis.grad_cam import relevance
from keras_vit.analysis.positions import position_similarity
from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.analysis.receptive_field import effective_receptive_field

__all__ = [
    "count",
    "effective_receptive_field",
    "feature_pyramid",
    "patch_filters",
    "plot_effective_receptive_field",
    "plot_patch_filters",
    "plot_position_similarity",
    "plot_relative_position_biases",
    "plot_relevance",
    "position_similarity",
    "relative_position_biases",
    "relevance",
]
