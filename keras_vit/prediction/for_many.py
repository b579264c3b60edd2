"""A predictor for many images: it runs the inference form of its Keras model, where making that pays.

The form takes some seconds to make. A model that XLA compiles, as `keras_vit.system.xla` decides, stays as it is;
`python -m benchmarks.inference_form` compares both ways on a machine.
"""

import dataclasses

import numpy as np

from keras_vit.prediction.activations import as_probabilities
from keras_vit.prediction.known import known_score, with_logits
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import as_taken
from keras_vit.system import keras_private

FROM = 1000  # images; how many pay for making the form was estimated, not measured


def for_many(predictor, images):
    """The predictor that is to predict so many images: one that runs the inference form, or the same.

    The form has the weights that the model has now. It is made of Keras models on TensorFlow that compute in float32
    and that XLA does not compile; predictors of files and of several views of an image stay as they are.

    Args:
        predictor: a `Predictor`.
        images: their number.
    """
    if images < FROM or type(predictor) is not Predictor or predictor.model is None or not _pays(predictor.model):
        return predictor
    from keras_vit.tf_graph.inference_form import inference_form
    from keras_vit.tf_graph.tracing import NoInferenceForm

    shape = (*predictor.spec.size, 3)
    try:
        form = inference_form(_outputs(predictor), shape)
    except NoInferenceForm:
        return predictor
    compute = form.function()

    def outputs(batch):
        import tensorflow as tf

        return {name: value.numpy() for name, value in compute(tf.constant(np.stack(batch), tf.float32)).items()}

    def run(batch):
        alike = all(image.shape == shape for image in batch)  # a model of any size may get others
        return outputs(batch)["probabilities"] if alike else predictor.run(batch)

    def run_known(batch):
        found = outputs(batch)
        return found["probabilities"], found["known"]

    known = run_known if predictor.run_known else None
    return dataclasses.replace(predictor, run=run, run_known=known)


def _pays(model):
    """Whether the form of a model takes less time than what Keras runs."""
    import keras

    if keras.backend.backend() != "tensorflow" or model.jit_compile:
        return False
    return all(layer.compute_dtype == "float32" for layer in keras_private.all_layers(model))


def _outputs(predictor):
    """The function to trace: images (B, H, W, 3) in [0, 255] -> {"probabilities"}, and "known" of a model with it."""
    model, spec, answers = predictor.model, predictor.spec, predictor.answers
    finish = as_probabilities(model, spec.size, len(predictor.labels), answers.multi_label)
    both = with_logits(model) if predictor.run_known else None

    def compute(images):
        taken = as_taken(images, spec, predictor.input_values)
        if both is None:
            return {"probabilities": finish(model(taken, training=False))}
        given, logits = both(taken, training=False)
        return {"probabilities": finish(given), "known": known_score(logits, answers.unknown["score"])}

    return compute
