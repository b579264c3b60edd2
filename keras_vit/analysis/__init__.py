"""Analysis of models: attention, relevance, receptive fields, learned filters and positions, feature pyramids, counts.

    maps = attention_maps(model, images)  # of every family with attention, images as the model takes them
    plot_attention_maps(maps, images).savefig("attention.png")
    plot_attention_rollout(images, attention_rollout(model, images)).savefig("rollout.png")
    plot_mean_attention_distance(mean_attention_distance(model, images)).savefig("distance.png")
    plot_relevance(images, relevance(model, images)).savefig("relevance.png")  # Grad-CAM, of every family
    plot_effective_receptive_field({"last map": effective_receptive_field(model, images)}).savefig("field.png")
    plot_patch_filters(patch_filters(model)).savefig("filters.png")
    plot_patch_components(images, patch_components(model, images)).savefig("components.png")
    plot_position_similarity(position_similarity(model)).savefig("positions.png")  # of models with position embeddings
    plot_relative_position_biases(relative_position_biases(model)).savefig("biases.png")  # of Swin

Every plot_... returns a matplotlib Figure and writes nothing.
"""

from keras_vit.analysis.attention import AttentionMap, attention_maps
from keras_vit.analysis.attention_figures import (
    plot_attention_maps,
    plot_attention_rollout,
    plot_mean_attention_distance,
)
from keras_vit.analysis.biases import relative_position_biases
from keras_vit.analysis.components import patch_components
from keras_vit.analysis.counts import count
from keras_vit.analysis.distance import mean_attention_distance
from keras_vit.analysis.figures import (
    plot_effective_receptive_field,
    plot_patch_components,
    plot_patch_filters,
    plot_position_similarity,
    plot_relative_position_biases,
    plot_relevance,
)
from keras_vit.analysis.filters import patch_filters
from keras_vit.analysis.grad_cam import relevance
from keras_vit.analysis.intermediate import intermediate_features
from keras_vit.analysis.positions import position_similarity
from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.analysis.receptive_field import effective_receptive_field
from keras_vit.analysis.rollout import attention_rollout

__all__ = [
    "AttentionMap",
    "attention_maps",
    "attention_rollout",
    "count",
    "effective_receptive_field",
    "feature_pyramid",
    "intermediate_features",
    "mean_attention_distance",
    "patch_components",
    "patch_filters",
    "plot_attention_maps",
    "plot_attention_rollout",
    "plot_effective_receptive_field",
    "plot_mean_attention_distance",
    "plot_patch_components",
    "plot_patch_filters",
    "plot_position_similarity",
    "plot_relative_position_biases",
    "plot_relevance",
    "position_similarity",
    "relative_position_biases",
    "relevance",
]


def __dir__():
    return sorted(__all__)
