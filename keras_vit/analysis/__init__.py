"""Looking into models and taking them apart: feature pyramids, parameters and multiply-adds."""

from keras_vit.analysis.counts import count
from keras_vit.analysis.pyramid import feature_pyramid

__all__ = ["count", "feature_pyramid"]
