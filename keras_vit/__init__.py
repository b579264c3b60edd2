"""Vision transformers for Keras 3: every family from its paper, with the published weights."""

from keras_vit import guard, quiet

guard.refuse_clash()

with quiet.loading():  # the backend with them
    from keras_vit import analysis, layers, models

from keras_vit.analysis import feature_pyramid  # noqa: E402
from keras_vit.depth import depth_groups  # noqa: E402
from keras_vit.labels import decode_predictions  # noqa: E402
from keras_vit.preprocessing import preprocess_input  # noqa: E402
from keras_vit.zoo import create_model, info, list_models  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "analysis",
    "create_model",
    "decode_predictions",
    "depth_groups",
    "feature_pyramid",
    "info",
    "layers",
    "list_models",
    "models",
    "preprocess_input",
]
