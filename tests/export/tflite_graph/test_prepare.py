import numpy as np
import pytest

from keras_vit.export.tflite_graph.graph import Graph
from keras_vit.export.tflite_graph.prepare import prepare
from tests.export.tflite_graph.files import outputs


@pytest.mark.parametrize("quantization", ["float16", "dynamic_int8", "int8", "int16x8"])
@pytest.mark.parametrize("real", [True, False])
def test_a_prepared_file_computes_what_the_float_file_does(vit_file, images, tmp_path, quantization, real):
    made = prepare(vit_file, quantization, images, real, tmp_path)
    layers = [made.graph.name(int(one.outputs[0])) for one in made.graph.weighted()]
    given, expected = (outputs(content, images, tmp_path) for content in (made.content(layers), vit_file))
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert bool(made.fitted) == (real and quantization in ("dynamic_int8", "int8"))
    assert (made.ranges is None) == (quantization in ("float16", "dynamic_int8"))


def test_layers_that_stay_float_have_their_own_weights(vit_file, images, tmp_path):
    made = prepare(vit_file, "int8", images, True, tmp_path)
    name, (operator, number) = next(iter(made.fitted.items()))

    def weights(floats):
        graph = Graph(made.content(floats))
        one = next(one for one in graph.weighted() if graph.name(int(one.outputs[0])) == name)
        return graph.constant(int(one.inputs[1]))

    np.testing.assert_array_equal(weights(()), made.graph.constant(number))
    np.testing.assert_array_equal(weights([name]), made.graph.constant(int(operator.inputs[1])))
    assert np.abs(weights(()) - weights([name])).max() > 0
