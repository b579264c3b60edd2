"""What layers compute a second time for their gradients in training, instead of keeping it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers.attention import SelfAttention
from keras_vit.layers.mlp import MLP

# layer, and the operations of which there are then two
CASES = {
    "attention": (lambda: SelfAttention(2), {"Softmax"}),
    "relative positions": (lambda: SelfAttention(2, relative_positions=True), {"Softmax"}),
    "mlp": (lambda: MLP(7), {"Erf", "Erfc"}),
}


@pytest.mark.parametrize("make, kinds", CASES.values(), ids=CASES)
def test_training_computes_again_for_the_same_gradients(make, kinds):
    layer = make()
    layer.build((None, 5, 6))
    x = tf.constant(np.random.default_rng(0).standard_normal((3, 5, 6)).astype("float32"))  # B N C

    @tf.function(autograph=False)
    def gradients(training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=training) ** 2)
        return tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])

    kept, again = (gradients.get_concrete_function(training) for training in (False, True))
    assert [sum(op.type in kinds for op in function.graph.get_operations()) for function in (kept, again)] == [1, 2]
    for expected, found in zip(kept(), again(), strict=True):
        expected, found = (keras.ops.convert_to_numpy(gradient) for gradient in (expected, found))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
