"""How well known an image is to a classifier: a score of its logits, high for images like those of its training.

    energy      logsumexp of the logits, the negative energy at temperature 1 of arXiv:2010.03759, Eq. 4
    max_logit   the largest logit

Probabilities do not have it any more: a softmax takes away what all logits have in common, and in float32 both it and
the sigmoid round large logits to 1. So the logits are taken from in front of the classifier's last activation.
"""

import numpy as np

from keras_vit.sources.answers import SCORES
from keras_vit.system import keras_private


def known_score(logits, score):
    """The score of each image, an array for an array and a tensor for a tensor.  (B, K) -> (B,)

    Args:
        logits: float32 (B, K).
        score: "energy" or "max_logit".

    Raises:
        ValueError: for another score.
    """
    if score not in SCORES:
        raise ValueError(f"The score of known images must be one of {', '.join(SCORES)}. Received: {score!r}.")
    if isinstance(logits, np.ndarray):
        return logits.max(-1) if score == "max_logit" else np.logaddexp.reduce(logits, axis=-1)
    from keras import ops

    highest = ops.max(logits, axis=-1)
    if score == "max_logit":
        return highest
    return highest + ops.log(ops.sum(ops.exp(logits - highest[..., None]), axis=-1))  # of finite logits, as LiteRT can


def with_logits(model):
    """The same classifier, which gives its logits too: a `keras.Model` with outputs [what it gives, logits], (B, K).

    It shares the weights of `model`, a functional one, whose last layer is a Dense layer or an activation.

    Raises:
        ValueError: for a model that ends in anything else.
    """
    import keras
    from keras import layers, ops

    last, inputs = keras_private.call_of(model.outputs[0])
    name = getattr(getattr(last, "activation", None), "__name__", None)
    if isinstance(last, layers.Softmax):
        logits, name = inputs[0], "softmax"
    elif isinstance(last, layers.Activation):
        logits = inputs[0]
    elif isinstance(last, layers.Dense):
        logits = ops.matmul(inputs[0], last.kernel)
        logits = ops.add(logits, last.bias) if last.use_bias else logits
    else:
        raise ValueError(
            f"{model.name}: a score of known images needs the logits of a model that ends in a Dense layer or an "
            f'activation. Received one that ends in {type(last).__name__}; remove the entry "unknown".'
        )
    finish = {"softmax": ops.softmax, "sigmoid": ops.sigmoid}.get(name)
    outputs = finish(logits) if finish else model.outputs[0]  # from the same logits, so that files hold them once
    return keras.Model(model.inputs[0], [outputs, ops.cast(logits, "float32")], name=model.name)
