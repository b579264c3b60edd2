"""Vision transformers for Keras 3: every family from its paper, with the published weights.

Neither Keras nor TensorFlow is imported before something needs it: `list_models()` answers at once.
"""

import importlib

from keras_vit.system import ends

ends.begin()  # before what takes longer

from keras_vit.system import name_clash, registration  # noqa: E402

__version__ = "0.1.0"

name_clash.refuse_clash()
registration.register_layers()

_HOME = {  # public name -> the module that has it; a room is its own
    "Embedder": "keras_vit.prediction.embedding",
    "Embeddings": "keras_vit.prediction.embeddings_file",
    "Predictor": "keras_vit.prediction.predictor",
    "analysis": None,
    "at_image_size": "keras_vit.models.sizes",
    "create_model": "keras_vit.models.create",
    "decode_predictions": "keras_vit.imagenet.labels",
    "depth_groups": "keras_vit.models.depth",
    "feature_pyramid": "keras_vit.analysis.pyramid",
    "info": "keras_vit.sources.registry",
    "intermediate_features": "keras_vit.analysis.intermediate",
    "layers": None,
    "list_models": "keras_vit.sources.registry",
    "load_adapter": "keras_vit.models.adapters",
    "load_embeddings": "keras_vit.prediction.embeddings_file",
    "load_run": "keras_vit.sources.run_folder",
    "models": None,
    "nearest": "keras_vit.prediction.neighbours",
    "preprocess_input": "keras_vit.prediction.preprocess_input",
    "save_embeddings": "keras_vit.prediction.embeddings_file",
    "save_weights": "keras_vit.models.saving",
}

__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'keras_vit' has no attribute {name!r}")
    home = _HOME[name]
    value = (
        importlib.import_module(f"keras_vit.{name}") if home is None else getattr(importlib.import_module(home), name)
    )
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
