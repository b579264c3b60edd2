import numpy as np
import pytest
import tensorflow as tf

from keras_vit.tf_graph.products import Product, products
from tests.tf_graph.made import IMAGES, draw, graph_of, run

KINDS = {  # (function of x, kernel and bias; shape of the kernel)
    "dense": (lambda x, W: tf.matmul(tf.reshape(x, (-1, 3)), W), (3, 5)),
    "dense, transposed": (lambda x, W: tf.matmul(tf.reshape(x, (-1, 3)), W, transpose_b=True), (5, 3)),
    "convolution": (lambda x, W: tf.nn.conv2d(x, W, 2, "VALID"), (2, 3, 3, 5)),
    "depthwise": (lambda x, W: tf.nn.depthwise_conv2d(x, W, (1, 1, 1, 1), "VALID"), (2, 3, 3, 2)),
}


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_factors_and_offsets_on_both_sides(kind, with_bias):
    function, shape = KINDS[kind]
    kernel = draw(*shape)
    outputs = 6 if kind == "depthwise" else 5
    bias = draw(outputs) if with_bias else None

    def layer(x):
        y = function(x, kernel)
        return tf.nn.bias_add(y, bias) if with_bias else y

    inner, outer = (draw(3), draw(3)), (draw(outputs), draw(outputs))
    graph = graph_of(lambda x: tf.nn.relu(layer(x)))
    (product,) = products(graph)
    assert (product.inputs, product.outputs) == (3, outputs)
    product.shift_inputs(inner[1])
    product.scale_inputs(inner[0])
    product.scale_outputs(outer[0])
    product.shift_outputs(outer[1])
    expected = np.maximum(layer(IMAGES * inner[0] + inner[1]).numpy() * outer[0] + outer[1], 0)
    np.testing.assert_allclose(run(graph), expected, rtol=1e-4, atol=1e-4)


def test_others_keep_the_kernel_that_they_share():
    kernel = tf.constant(draw(3, 400))
    graph = graph_of(lambda x: {"a": tf.tensordot(x, kernel, 1), "b": tf.tensordot(tf.abs(x), kernel, 1)})
    first, second = products(graph)
    assert first.is_shared() and second.is_shared()
    first.scale_inputs(np.float32([2, 2, 2]))
    assert not first.is_shared() and not second.is_shared()
    given = run(graph)
    np.testing.assert_allclose(given["a"], 2 * IMAGES @ kernel.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(given["b"], np.abs(IMAGES) @ kernel.numpy(), rtol=1e-4, atol=1e-4)


PADS = [  # kernel, stride, dilation, padding; whether zeros are seen of 6 x 8 pixels
    *[(1, 1, 1, "SAME", False), (2, 2, 1, "SAME", False), (3, 1, 1, "SAME", True), (3, 1, 1, "VALID", False)],
    *[(4, 4, 1, "SAME", True), (1, 2, 1, "SAME", False), (2, 1, 3, "SAME", True)],
    *[(2, 2, 1, [[0, 0], [1, 1], [0, 0], [0, 0]], True), (2, 2, 1, [[0, 0], [0, 0], [0, 0], [0, 0]], False)],
]


@pytest.mark.parametrize("size, stride, dilation, padding, expected", PADS)
def test_whether_a_convolution_sees_zeros(size, stride, dilation, padding, expected):
    kernel = np.ones((size, size, 3, 1), "float32")
    graph = graph_of(lambda x: tf.nn.conv2d(x, kernel, stride, padding, dilations=dilation))
    (product,) = products(graph)
    assert product.pads() == expected
    sums = tf.nn.conv2d(np.ones_like(IMAGES), kernel, stride, padding, dilations=dilation).numpy()
    assert (sums < 3 * size**2).any() == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.matmul(x, x, transpose_b=True),
        lambda x: tf.matmul(draw(4, 144), tf.reshape(x, (144, -1))),
        lambda x: tf.matmul(tf.cast(tf.reshape(x, (-1, 3)), tf.float64), draw(3, 2).astype("float64")),
        lambda x: tf.matmul(tf.reshape(x, (3, -1)), draw(3, 2), transpose_a=True),
        lambda x: tf.nn.relu(x),
    ],
)
def test_other_operators_are_no_products(function):
    graph = graph_of(function)
    assert not products(graph)
    assert all(Product.of(graph, operator) is None for operator in graph.operators)
