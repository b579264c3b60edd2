"""Where the evidence for a class lies: Grad-CAM (Selvaraju et al., arXiv:1610.02391), for maps and for tokens.

Letters: B batch, H W grid of the last map, C channels, K classes.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_vit.analysis.gradients import before_activation, require_images, require_tensorflow
from keras_vit.analysis.maps import stage_maps
from keras_vit.models.blocks import blocks, has_class_token, require_blocks
from keras_vit.models.coat import ParallelBlock


def relevance(model, images, classes=None):
    """Grad-CAM of every image: ReLU(sum_c alpha_c A_c), alpha_c the mean over the map of d score / d A_c (Eq. 1 and 2).

    A is the output map of the last block. Where the classifier reads a class token, no other token of that output
    reaches it, so A is the patches as they enter the last block; of CoaT's three parallel scales, the coarsest. The
    score is the one before softmax or sigmoid.

    Args:
        model: a model of keras_vit.models with its classifier.
        images: (B, H0, W0, C), prepared as the model takes them.
        classes: what to explain: the number of a class, or one for each image; None for each image's best class.

    Returns:
        (B, H, W) float32 in [0, 1] on the grid of A, the largest value of an image 1; 0 throughout where nothing on
        its map speaks for the class.

    Raises:
        ValueError: for models without blocks or classifier, and for images and classes that do not fit.
        RuntimeError: on backends other than TensorFlow.
    """
    require_tensorflow("relevance")
    import tensorflow as tf

    require_blocks("relevance", model)
    images = require_images("relevance", model, images)
    read, as_scores = before_activation("relevance", model)
    features, last = explained_features(model)
    all_three = keras.Model(model.inputs[0], [features, last, read])
    with tf.GradientTape() as tape:
        tape.watch(images)  # frozen weights are not watched by themselves
        activations, last, x = all_three(images, training=False)
        scores = as_scores(x)  # B K
        score = tf.gather(scores, _numbers(classes, scores), batch_dims=1)
    gradients = tape.gradient(score, activations)
    return _grad_cam(*(_on_grid(x, last.shape[1:3]) for x in (activations, gradients)))


def explained_features(model):
    """What the classifier still depends on, place by place.

    Returns:
        symbolic map, or tokens of which the last are its places; the last map of the model, which has the same places.
    """
    last = model.get_layer(blocks(model)[-1].name)
    stage, last_map = list(stage_maps(model).items())[-1]
    stream = len(last.output) - 1 if isinstance(last, ParallelBlock) else 0  # CoaT's coarsest scale, TNT's patches
    outputs, inputs = ([x] if keras.backend.is_keras_tensor(x) else x for x in (last.output, last.input))
    reads_token = len(outputs[stream].shape) == 3 and has_class_token(model, stage)
    return (inputs if reads_token else outputs)[stream], last_map


def _numbers(classes, scores):
    """The class to explain of every image, (B,)."""
    B, K = scores.shape
    if classes is None:
        return ops.convert_to_numpy(scores).argmax(-1)
    numbers = np.asarray(classes)
    fits = numbers.dtype.kind in "iu" and numbers.shape in ((), (B,)) and ((numbers >= 0) & (numbers < K)).all()
    if not fits:
        raise ValueError(
            f"classes: expected a number from 0 to {K - 1}, one for each of the {B} images, or None. "
            f"Received: classes={classes!r}"
        )
    return np.broadcast_to(numbers, (B,))


def _on_grid(x, grid):
    """A map, or tokens of which the last are the patches -> (B, H, W, C) float32."""
    x = ops.convert_to_numpy(ops.cast(x, "float32"))
    x = x.reshape(len(x), -1, x.shape[-1])  # B N C
    return x[:, x.shape[1] - math.prod(grid) :].reshape(len(x), *grid, -1)  # B H W C


def _grad_cam(activations, gradients):
    """(B, H, W, C), twice -> (B, H, W)."""
    alpha = gradients.mean((1, 2), keepdims=True)  # B 1 1 C
    maps = np.maximum((alpha * activations).sum(-1), 0)
    largest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0)
