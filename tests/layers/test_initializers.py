import math

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as numpy

from keras_vit.layers.initializers import InitialNormal, initial_normal


def test_the_values_are_normal():
    z = numpy(InitialNormal(0.5)((1000, 1000))) / 0.5
    assert abs(z.mean()) < 5e-3 and abs(z.std() - 1) < 5e-3
    for x in (-3, -2, -1, -0.1, 0.5, 1.5, 2.5):
        expected = 0.5 * (1 + math.erf(x / math.sqrt(2)))
        assert abs((z < x).mean() - expected) < 5 * math.sqrt(expected * (1 - expected) / z.size)
    assert 4.1 < np.abs(z).max() < 4.4


def test_neighbours_rows_and_calls_are_independent():
    initial = InitialNormal(1.0)
    a, b = numpy(initial((400, 400))), numpy(initial((400, 400)))
    for one, other in ((a, b), (a[1:], a[:-1]), (a[:, 1:], a[:, :-1])):
        assert abs((one * other).mean()) < 0.02


def test_the_global_seed_repeats_them():
    def draw():
        keras.utils.set_random_seed(7)
        return numpy(initial_normal()((5, 6)))

    np.testing.assert_array_equal(draw(), draw())


def test_two_layers_with_one_initializer_differ():
    initial = initial_normal()
    one, other = (keras.layers.Dense(8, kernel_initializer=initial) for _ in range(2))
    one.build((None, 8)), other.build((None, 8))
    assert not np.array_equal(numpy(one.kernel), numpy(other.kernel))


def test_it_is_saved_with_its_layer():
    layer = keras.layers.Dense(2, kernel_initializer=initial_normal())
    assert keras.layers.Dense.from_config(layer.get_config()).kernel_initializer.stddev == 0.02


def test_a_graph_keeps_no_drawn_array():
    drawn = tf.function(lambda: initial_normal()((300, 200)))
    graph = drawn.get_concrete_function().graph
    constants = [op.outputs[0].shape.num_elements() for op in graph.get_operations() if op.type == "Const"]
    assert max(constants) < 10
    assert abs(drawn().numpy().std() / 0.02 - 1) < 0.02
