"""Layer normalisations of large activations, as trained transformers have them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.tflite_graph import half, variances
from keras_vit.export.tflite_graph.graph import Graph
from keras_vit.export.tflite_graph.ranges import observed
from tests.export.tflite_graph.files import convert, outputs

SHAPE = (1, 4, 6, 8)
OUTLIER = 30.0  # times 255: 7650, whose square is far above 65504


def file(*layers, outlier=OUTLIER):
    """A file of layers behind activations of which one channel is large."""
    factor = np.array([outlier, *[0.01] * 7], "float32")
    for layer in layers:
        layer.build(SHAPE)
        for weight in layer.weights:
            weight.assign(1 + 0.1 * np.random.default_rng(0).normal(size=weight.shape))

    def function(x):
        x = x * factor
        return tf.reshape(tf.concat([layer(x) for layer in layers], -1), (1, -1))

    return convert(function, SHAPE)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, *SHAPE[1:])).astype("uint8")


def scaled(content, images, tmp_path):
    graph = Graph(content)
    return graph, variances.scale(graph, images, tmp_path)


def norm(**options):
    return keras.layers.LayerNormalization(epsilon=1e-5, **options)


@pytest.mark.parametrize(
    "layers",
    [(norm(),), (norm(), norm()), (norm(scale=False),), (norm(center=False),)],
    ids=["layer", "two of one tensor", "no gamma", "no beta"],
)
def test_float16_holds_it_afterwards(layers, images, tmp_path):
    content = file(*layers)
    exact = outputs(content, images, tmp_path)
    before = half.emulate(content, images, tmp_path)
    assert before.overflow[0] in ("SQUARED_DIFFERENCE", "MUL")
    graph, used = scaled(content, images, tmp_path)
    np.testing.assert_allclose(outputs(graph.content(), images, tmp_path), exact, atol=2e-5, rtol=2e-5)
    assert used and all(np.log2(by) == np.round(np.log2(by)) and by > 1 for by in used.values())
    after = half.emulate(graph.content(), images, tmp_path)
    assert after.overflow is None
    np.testing.assert_allclose(after.outputs[0], exact, atol=0.02)
    assert np.abs(before.outputs[0] - exact).max() > 0.5


def test_sums_of_squares_have_room(images, tmp_path):
    """Four times the activations of the images fit, summed in float16 too."""
    graph, _ = scaled(file(norm()), images, tmp_path)
    (square,) = [one for one in graph.of_kinds(("MUL",)) if int(one.inputs[0]) == int(one.inputs[1])]
    sums = [
        values[int(square.outputs[0])].sum(-1).max()
        for values in observed(graph, [int(square.outputs[0])], images, tmp_path)
    ]
    assert variances.LARGEST_SUM / 4 < max(sums) <= variances.LARGEST_SUM and 16 * max(sums) <= 65536


def test_small_variances_are_scaled_up(images, tmp_path):
    """Epsilon would be a subnormal number of float16, and be taken for 0 by GPUs."""
    content = file(norm(), outlier=0.01)
    graph, used = scaled(content, images, tmp_path)
    assert all(by < 1 for by in used.values())
    np.testing.assert_allclose(
        outputs(graph.content(), images, tmp_path), outputs(content, images, tmp_path), atol=2e-5
    )


def test_other_squares_stay(images, tmp_path):
    content = convert(lambda x: tf.reshape(tf.reduce_mean(tf.math.squared_difference(x, 3.0), -1), (1, -1)), SHAPE)
    graph, used = scaled(content, images, tmp_path)
    assert used == {} and variances.variances(graph) == []
