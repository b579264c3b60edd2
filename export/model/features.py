"""The function of a model's penultimate-layer features that is exported, see `keras_vit.prediction.features`."""

from keras_vit.prediction.features import without_head
from keras_vit.preprocessing import as_taken, find_input_values


def features(source):
    """The function to trace for features.

    Returns:
        images float32 (B, H, W, 3) in [0, 255], of the model's size -> features (B, D). None for a model whose
        classifier is not a Dense layer on vectors.
    """
    model, spec = without_head(source.model), source.spec
    if model is None:
        return None
    values = find_input_values(source.model, spec.size, source.input_values)
    return lambda images: model(as_taken(images, spec, values), training=False)
