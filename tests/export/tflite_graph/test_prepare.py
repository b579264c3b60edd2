import numpy as np
import pytest
import tensorflow as tf

from keras_vit.export.tflite_graph.graph import PRODUCT, WEIGHTED, Graph
from keras_vit.export.tflite_graph.prepare import REWRITES, prepare
from tests.export.tflite_graph.files import convert, outputs


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("rewrites", [(), *((one,) for one in REWRITES), REWRITES])
def test_a_prepared_file_computes_what_the_float_file_does(vit_file, images, tmp_path, static, rewrites):
    made = prepare(vit_file, static, images, rewrites, tmp_path)
    layers = [made.graph.name(int(one.outputs[0])) for one in made.graph.weighted()]
    given, expected = (outputs(content, images, tmp_path) for content in (made.content(layers), vit_file))
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert bool(made.fitted) == ("fit" in rewrites) and (made.ranges is not None) == static


def test_without_ranges_and_rewrites_no_images_are_needed(vit_file, images, tmp_path):
    made = prepare(vit_file, False, None, (), tmp_path)
    np.testing.assert_array_equal(*(outputs(content, images, tmp_path) for content in (made.content(), vit_file)))


def test_layers_that_stay_float_have_their_own_weights(vit_file, images, tmp_path):
    made = prepare(vit_file, True, images, REWRITES, tmp_path)
    name, (operator, number) = next(iter(made.fitted.items()))

    def weights(floats):
        graph = Graph(made.content(floats))
        one = next(one for one in graph.weighted() if graph.name(int(one.outputs[0])) == name)
        return graph.constant(int(one.inputs[1]))

    np.testing.assert_array_equal(weights(()), made.graph.constant(number))
    np.testing.assert_array_equal(weights([name]), made.graph.constant(int(operator.inputs[1])))
    assert np.abs(weights(()) - weights([name])).max() > 0


def test_only_probabilities_are_known_to_lie_between_0_and_1(images, tmp_path):
    for activation, known in ((tf.nn.softmax, [0.0, 1.0]), (tf.nn.sigmoid, [0.0, 1.0]), (tf.nn.gelu, None)):
        content = convert(lambda x: activation(tf.reshape(x, (1, -1))[:, :9]), (1, 32, 32, 3))
        ranges = prepare(content, True, images, (), tmp_path).ranges
        graph = Graph(content)
        found = ranges.get(graph.name(int(graph.main.outputs[0])))
        assert (found and [float(found[end][0]) for end in ("min", "max")]) == known


def test_products_of_activations_are_measured_where_they_are_quantized(vit_file, images, tmp_path):
    most, fewer = (
        prepare(vit_file, True, images, (), tmp_path, kinds).ranges for kinds in ((*WEIGHTED, PRODUCT), WEIGHTED)
    )
    assert set(fewer) < set(most) and all(fewer[name] == most[name] for name in fewer)
