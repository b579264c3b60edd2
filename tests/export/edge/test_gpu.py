"""The GPU delegate's rules, on files of single operators."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.edge import gpu
from tests.export.tflite_graph.files import convert

TABLE = np.arange(24, dtype="float32")
REFUSED = {  # function of (1, 4, 6): operator, part of the reason
    "rounded up": (lambda x: tf.math.ceil(x), "CEIL", "not on the list"),
    "rank": (lambda x: tf.transpose(tf.reshape(x, (1, 2, 2, 3, 2)), (0, 2, 1, 4, 3)), "TRANSPOSE", "rank 5 is above 4"),
    "integers": (lambda x: tf.cast(tf.cast(x, "int32") + 1, "float32"), "ADD", "int32"),
    "constant of rank 3": (lambda x: tf.concat([x, TABLE.reshape(1, 4, 6)], 1), "CONCATENATION", "rank 3, not 4"),
    "rows in the batch": (lambda x: x + TABLE.reshape(4, 6)[None].repeat(3, 0), "ADD", "rows in the batch"),
    "batch of a constant": (lambda x: tf.reshape(x, (2, 2, 3, 2)) * TABLE.reshape(2, 2, 3, 2), "MUL", "the batch 2"),
    "ranks": (lambda x: x - tf.nn.relu(tf.reshape(x, (4, 6)) - 1), "SUB", "ranks 3 and 2"),
    "itself": (lambda x: tf.math.squared_difference(x, x), "SQUARED_DIFFERENCE", "same tensor"),
    "split": (lambda x: tf.concat(tf.split(x, 2, 1)[::-1], 1), "SPLIT", "axis has rank 0"),
    "mean": (lambda x: tf.reduce_mean(x, -1), "MEAN", "rows move"),
    "dense": (lambda x: tf.matmul(tf.reshape(x, (4, 6)), TABLE.reshape(6, 4)), "FULLY_CONNECTED", "rows move"),
    "transposed": (lambda x: tf.matmul(x, tf.nn.relu(x), transpose_b=True), "BATCH_MATMUL", "is ignored"),
    "constant first": (lambda x: tf.matmul(TABLE.reshape(6, 4), x), "BATCH_MATMUL", "first factor is a constant"),
    "slice": (lambda x: tf.reshape(x, (4, 6))[1:3], "STRIDED_SLICE", "rank 2, not 3 or 4"),
    "shrunk": (lambda x: x[:, 1], "STRIDED_SLICE", "shrinkAxisMask"),
    "pad": (lambda x: tf.pad(x, [(0, 0), (1, 1), (0, 0)]), "PAD", "pads rank 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    function, operator, reason = REFUSED[name]
    found = gpu.refusals(convert(function, (1, 4, 6)))
    assert reason in " ".join(one.reason for one in found if one.operator == operator)
    assert operator in [one.operator for one in found]


def test_what_is_taken():
    def function(x):
        x = tf.nn.conv2d(x, TABLE.reshape(2, 2, 3, 2), 1, "SAME") + TABLE[:2]
        x = tf.nn.softmax(x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6))
        return tf.reduce_mean(tf.transpose(x, (0, 2, 1, 3)), (1, 2))

    assert gpu.refusals(convert(function, (1, 4, 4, 3))) == []


@pytest.mark.parametrize("shape, held", [((), (1, 1, 1, 1)), ((5,), (5, 1, 1, 1)), ((5, 3), (5, 1, 1, 3))])
def test_layouts(shape, held):
    assert gpu.layout(shape) == held
    assert gpu.layout((2, 5, 3)) == (2, 1, 5, 3) and gpu.layout((2, 4, 5, 3)) == (2, 4, 5, 3)


def test_the_error_names_operator_layer_and_rule():
    content = convert(lambda x: tf.reduce_mean(tf.math.ceil(x), -1), (1, 4, 6))
    with pytest.raises(ValueError, match=r"refuses 2 operators of a\.tflite.*CEIL in .*list.*MEAN.*--target cpu"):
        gpu.check(content, "a.tflite")
    gpu.check(convert(lambda x: x + 1, (1, 4, 6)), "b.tflite")
