import numpy as np
import tensorflow as tf

from keras_vit.export.tflite_graph.graph import Graph
from keras_vit.export.tflite_graph.ranges import GELU_FLOOR, INPUTS, OUTPUTS, measure, per_tensor, with_margins
from tests.export.tflite_graph.files import convert

KERNEL = np.array([[1, -2], [0, 3], [4, 0]], "float32")


def measured(tmp_path, function=tf.nn.gelu):
    graph = Graph(convert(lambda x: function(tf.matmul(tf.reshape(x, (-1, 3)), KERNEL) + [0.5, 0.0]), (1, 2, 2, 3)))
    images = np.random.default_rng(0).integers(0, 200, (5, 2, 2, 3)).astype("uint8")
    (layer,) = graph.weighted()
    return graph, images, layer, measure(graph, ("FULLY_CONNECTED",), images, tmp_path)


def test_ranges_are_those_of_all_images(tmp_path):
    _, images, layer, found = measured(tmp_path)
    x = images.reshape(-1, 3).astype("float32")
    for tensor, values in ((layer.inputs[0], x), (layer.outputs[0], x @ KERNEL + [0.5, 0])):
        np.testing.assert_allclose(found[int(tensor)].low, values.min(0), rtol=1e-6)
        np.testing.assert_allclose(found[int(tensor)].high, values.max(0), rtol=1e-6)


def test_margins_widen_and_gelu_has_a_floor(tmp_path):
    graph, _, layer, found = measured(tmp_path)
    x, y = int(layer.inputs[0]), int(layer.outputs[0])
    assert found[y].low.min() < GELU_FLOOR
    wide = with_margins(graph, found)
    np.testing.assert_allclose(wide[x].high, INPUTS * found[x].high)
    np.testing.assert_allclose(wide[y].high, OUTPUTS * found[y].high)
    assert wide[y].low.min() == GELU_FLOOR and wide[x].low.max() == 0  # zero is in every range
    ranges = per_tensor(graph, wide)
    assert ranges[graph.name(y)]["min"] == GELU_FLOOR and ranges[graph.name(x)]["max"] == wide[x].high.max()


def test_without_gelu_there_is_no_floor(tmp_path):
    graph, _, layer, found = measured(tmp_path, tf.sigmoid)
    y = int(layer.outputs[0])
    np.testing.assert_allclose(with_margins(graph, found)[y].low, OUTPUTS * np.minimum(found[y].low, 0))
