"""The functions that are traced for every artifact: pixels in; probabilities out, and the score of known images."""

from keras_vit.prediction.activations import as_probabilities
from keras_vit.prediction.known import known_score, with_logits
from keras_vit.preprocessing import as_taken, find_input_values


def probabilities(source):
    """The function to trace for classification.

    A model with logits gets the softmax or sigmoid that it lacks; pixels are normalised unless the model does it; a
    single output with the names of two classes becomes the probabilities of both.

    Returns:
        images float32 (B, H, W, 3) in [0, 255], of the model's size -> probabilities (B, K).
    """
    predict = outputs(source)
    return lambda images: predict(images)["probabilities"]


def outputs(source):
    """The function to trace for all that a classifier gives.

    Returns:
        images float32 (B, H, W, 3) in [0, 255], of the model's size -> {"probabilities": (B, K)}, and, of a model that
        can tell unknown images, "known_score": (B,). Of a model without a classifier, its features by name.
    """
    if source.features:
        return features_of(source)
    model, spec, answers = source.model, source.spec, source.answers
    finish = as_probabilities(model, spec.size, len(source.labels), answers.multi_label)
    values = find_input_values(model, spec.size, source.input_values)
    if answers.unknown is None:
        return lambda images: {"probabilities": finish(model(as_taken(images, spec, values), training=False))}
    both = with_logits(model)

    def predict(images):
        given, logits = both(as_taken(images, spec, values), training=False)
        return {"probabilities": finish(given), "known_score": known_score(logits, answers.unknown["score"])}

    return predict


def features_of(source):
    """The function to trace for a model without a classifier: images (B, H, W, 3) in [0, 255] -> {name: features}."""
    model, spec = source.model, source.spec
    return lambda images: model(as_taken(images, spec, source.input_values), training=False)
