"""The functions that are traced for every artifact."""

from keras_vit.outputs import as_probabilities
from keras_vit.preprocessing import normalize, normalizes_inside


def probabilities(source):
    """images float32 (B, H, W, 3) in [0, 255], of the model's size -> probabilities (B, K): the function to trace.

    A model that gives logits gets the softmax or sigmoid it lacks; one that normalises its pixels itself is left to it.
    """
    model, spec = source.model, source.spec
    finish = as_probabilities(model, spec.size)
    if normalizes_inside(model):
        return lambda images: finish(model(images, training=False))
    return lambda images: finish(model(normalize(images, spec), training=False))
