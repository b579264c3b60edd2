"""The function that is traced for every artifact: pixels in, probabilities out."""

from keras_vit.prediction.activations import as_probabilities
from keras_vit.preprocessing import as_taken, find_input_values


def probabilities(source):
    """The function to trace for classification.

    A model with logits gets the softmax or sigmoid that it lacks; pixels are normalised unless the model does it; a
    single output with the names of two classes becomes the probabilities of both.

    Returns:
        images float32 (B, H, W, 3) in [0, 255], of the model's size -> probabilities (B, K).
    """
    model, spec = source.model, source.spec
    finish = as_probabilities(model, spec.size, len(source.labels))
    values = find_input_values(model, spec.size, source.input_values)
    return lambda images: finish(model(as_taken(images, spec, values), training=False))
