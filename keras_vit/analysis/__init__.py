"""Looking into models and taking them apart: attention, feature pyramids, parameters and multiply-adds.

maps = attention_maps(model, images)  # of every family that attends, images as the model takes them
plot_attention_maps(maps, images).savefig("attention.png")
plot_attention_rollout(images, attention_rollout(model, images)).savefig("rollout.png")
plot_mean_attention_distance(mean_attention_distance(model, images)).savefig("distance.png")
"""

from keras_vit.analysis.attention import AttentionMap, attention_maps
from keras_vit.analysis.attention_figures import (
    plot_attention_maps,
    plot_attention_rollout,
    plot_mean_attention_distance,
)
from keras_vit.analysis.counts import count
from keras_vit.analysis.distance import mean_attention_distance
from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.analysis.rollout import attention_rollout

__all__ = [
    "AttentionMap",
    "attention_maps",
    "attention_rollout",
    "count",
    "feature_pyramid",
    "mean_attention_distance",
    "plot_attention_maps",
    "plot_attention_rollout",
    "plot_mean_attention_distance",
]
