"""Checks of every arm of a study: it has logits, and it learns a few images."""

import keras
import numpy as np
import tensorflow as tf


def build(study, arm, classes=10):
    """The model of an arm, with logits as for training."""
    shape = (study.img_size, study.img_size, 3)
    return study.arms[arm](weights=None, input_shape=shape, classes=classes, classifier_activation=None)


def random_images(study, count=2):
    return np.random.default_rng(0).uniform(-1, 1, (count, study.img_size, study.img_size, 3)).astype("float32")


def count(model, pattern=""):
    """Parameters of the variables whose path contains the pattern."""
    return sum(int(np.prod(v.shape)) for v in model.weights if pattern in v.path and "seed" not in v.path)


def check_learns(study, arm):
    """Gradients reach every trainable weight, and a step against them lowers the loss of four images."""
    model, images, labels = build(study, arm), random_images(study, 4), np.array([1, 2, 3, 1])

    def loss_of(training):
        logits = model(images, training=training)
        assert logits.shape == (4, 10)
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))

    with tf.GradientTape() as tape:
        loss = loss_of(training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert [v.path for v, gradient in zip(model.trainable_variables, gradients) if gradient is None] == []
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]  # those of tables are sparse
    length = tf.linalg.global_norm(gradients)
    for variable, gradient in zip(model.trainable_variables, gradients):
        variable.assign_sub(1e-3 * gradient / length)
    assert float(loss_of(training=True)) < float(loss)
