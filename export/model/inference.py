"""The function that is traced for every artifact: pixels in, probabilities out."""

from keras_vit.prediction.activations import as_probabilities
from keras_vit.preprocessing import normalize, normalizes_inside


def probabilities(source):
    """The function to trace for classification.

    A model with logits gets the softmax or sigmoid that it lacks; pixels are normalised unless the model does it.

    Returns:
        images float32 (B, H, W, 3) in [0, 255], of the model's size -> probabilities (B, K).
    """
    model, spec = source.model, source.spec
    finish = as_probabilities(model, spec.size)
    if normalizes_inside(model):
        return lambda images: finish(model(images, training=False))
    return lambda images: finish(model(normalize(images, spec), training=False))
