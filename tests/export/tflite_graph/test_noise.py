import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.edge.quantize import Quantizer
from keras_vit.export.tflite_graph import noise
from keras_vit.export.tflite_graph.graph import Graph
from tests.export.tflite_graph.files import convert, outputs


@pytest.mark.parametrize("quantization, near", [("int8", 2.5), ("dynamic_int8", 2.5), ("int16x8", 10)])
def test_the_effect_of_a_layer_is_that_of_quantizing_it_alone(vit_file, images, tmp_path, quantization, near):
    quantizer = Quantizer(vit_file, images, real=False)
    layers, reference = quantizer.layers(quantization), outputs(vit_file, images, tmp_path)
    (none, [exact]), *others = quantizer.effects(quantization, images)
    assert none is None and [layer for layer, _ in others] == list(layers)
    np.testing.assert_allclose(exact, reference, atol=1e-5)
    for layer, [given] in others[:: max(1, len(others) // 4)]:
        kept = [one for one in layers if one != layer]
        alone = outputs(quantizer.quantized(quantization, kept, floats=kept), images, tmp_path)
        ours, theirs = (np.square(one - reference).mean() for one in (given, alone))
        assert 1 / near < ours / theirs < near, layer


@pytest.mark.parametrize("stride, padding, dilation", [(1, "SAME", 1), (2, "SAME", 1), (2, "VALID", 1), (1, "SAME", 2)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions_are_computed_as_they_are(tmp_path, stride, padding, dilation, depthwise):
    draw = np.random.default_rng(0)
    kernel = draw.normal(size=(3, 2, 4, 1 if depthwise else 5)).astype("float32")

    def function(x):
        if depthwise:
            return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), padding, dilations=[dilation] * 2)
        return tf.nn.conv2d(x, kernel, stride, padding, dilations=dilation)

    content = convert(function, (1, 9, 8, 4))
    graph, x = Graph(content), draw.normal(size=(1, 9, 8, 4)).astype("float32")
    (operator,) = graph.weighted()
    ours = noise.product(graph, operator, x, graph.constant(int(operator.inputs[1])))
    np.testing.assert_allclose(ours, outputs(content, x, tmp_path), atol=1e-4)
