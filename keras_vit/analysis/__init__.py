"""Looking into models and taking them apart: feature pyramids."""

from keras_vit.analysis.pyramid import feature_pyramid

__all__ = ["feature_pyramid"]
