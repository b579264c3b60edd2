"""Computing blocks again instead of keeping their activations, by Keras' own scope."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.cases import params
from tests.models.test_contract import build, liven, random_images

# In Keras' mode "full" every layer inside a block would be computed again within that block's own second computation.
BLOCKS = "list_of_layers"
BLOCK_KINDS = pytest.mark.parametrize("toy", params({"vit", "swin"}))  # the others' are like these


def blocks(model):
    """The layers that hold attention or a ConvNeXt block."""
    return [layer.name for layer in model.layers if "block" in layer.name or "parallel" in layer.name]


def gradients(model, images):
    labels = np.arange(len(images)) % 5

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    products = [op for op in step.get_concrete_function(images).graph.get_operations() if op.type in PRODUCTS]
    return step(images), len(products)


PRODUCTS = ("MatMul", "BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative", "Einsum")


@BLOCK_KINDS
def test_recomputed_gradients_are_the_same(toy):
    plain = liven(build(toy))
    with keras.RematScope(mode=BLOCKS, layer_names=blocks(plain)):
        again = build(toy)
    for mine, others in zip(again.variables, plain.variables, strict=True):  # and the seeds: T2T's modules have dropout
        mine.assign(others)
    images = tf.constant(random_images(toy))
    (expected, once), (found, twice) = gradients(plain, images), gradients(again, images)
    assert twice > once  # the forward products are there a second time
    for variable, a, b in zip(plain.trainable_variables, expected, found):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(b, a, atol=1e-4 * np.abs(a).max() + 1e-7, err_msg=variable.path)


def test_drop_path_is_refused_in_the_scope():
    """Keras computes the second time as at inference: nothing dropped, other gradients."""
    with keras.RematScope(mode=BLOCKS, layer_names=["block0", "block1"]):
        with pytest.raises(ValueError, match="drop_path_rate: expected 0 .* keras.RematScope"):
            build("vit", drop_path_rate=0.1)
        build("vit", drop_rate=0.1)  # of the classifier, outside the blocks
    build("vit", drop_path_rate=0.1)


def test_a_model_in_the_scope_saves_and_loads_as_any_other(tmp_path):
    with keras.RematScope(mode=BLOCKS, layer_names=["block0", "block1"]):
        model = build("vit")
    model.save(tmp_path / "model.keras")
    loaded, images = keras.saving.load_model(tmp_path / "model.keras"), random_images("vit")
    np.testing.assert_array_equal(loaded(images), model(images))
