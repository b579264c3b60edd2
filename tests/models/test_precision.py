"""Half precision: what overflows in it or loses its meaning stays in float32, for every family."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.cases import one_per_paper, params
from tests.models.test_contract import PAPERS, build, lively, liven, random_images

POLICIES = pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
ONE_POLICY = pytest.mark.parametrize(  # the graph is the same for both, and bfloat16 has the range of float32
    "policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
# Softmax and the Performer's random features take exponentials, norms divide by a root.
DELICATE = ("Softmax", "LogSoftmax", "Exp", "Rsqrt", "Sqrt", "SquaredDifference")


def operations(model):
    """Those of the graph that TensorFlow runs."""
    image = tf.TensorSpec((2, *model.input_shape[1:]), "float32")
    return tf.function(lambda x: model(x, training=False)).get_concrete_function(image).graph.get_operations()


@PAPERS
@ONE_POLICY
def test_no_nan_at_ten_times_the_usual_input(toy, policy):
    model = liven(build(toy, dtype=policy, drop_path_rate=0.1))
    logits = keras.ops.convert_to_numpy(model(10 * random_images(toy), training=False))
    assert logits.dtype == "float32" and np.isfinite(logits).all() and logits.std() > 0
    with tf.GradientTape() as tape:
        logits = model(10 * random_images(toy), training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(np.arange(4), logits, from_logits=True))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert np.isfinite(loss)
    assert [v.path for v, g in zip(model.trainable_variables, gradients) if not np.isfinite(g).all()] == []


@PAPERS
@ONE_POLICY
def test_products_run_in_half_precision_and_norms_and_exponentials_in_float32(toy, policy):
    model = build(toy, dtype=policy)
    run = operations(model)
    half = {"mixed_float16": tf.float16, "mixed_bfloat16": tf.bfloat16}[policy]
    products = [op for op in run if op.type in ("MatMul", "Conv2D", "BatchMatMulV2")]
    assert sum(op.outputs[0].dtype == half for op in products) > len(products) / 2
    delicate = [op for op in run if op.type in DELICATE]
    assert [f"{op.type} {op.name}" for op in delicate if op.outputs[0].dtype != tf.float32] == []
    kinds = {op.type for op in delicate}
    assert "Rsqrt" in kinds
    attends = any("attn" in variable.path or "qkv" in variable.path for variable in model.weights)
    assert "Softmax" in kinds or not attends
    assert "Exp" in kinds or not any(variable.path.endswith("/features") for variable in model.weights)


@pytest.mark.parametrize("toy", params({"vit", "swin", "convnext", "coat_lite", "tnt"}, one_per_paper()))
@POLICIES
def test_half_precision_is_close_to_float32(toy, policy):
    full, images = lively(toy), random_images(toy)
    model = build(toy, dtype=policy)
    model.set_weights(full.get_weights())
    expected, found = (keras.ops.convert_to_numpy(m(images, training=False)) for m in (full, model))
    tolerance = {"mixed_float16": 0.05, "mixed_bfloat16": 0.3}[policy]  # 2**-11 and 2**-8, over some tens of roundings
    assert np.abs(found - expected).max() < tolerance * expected.std()
