import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.system import xla
from tests.models.toys import TOYS

IMAGE = keras.Input((8, 8, 3))


def test_a_depthwise_convolution_anywhere_in_a_model_decides():
    inner = keras.Sequential([keras.layers.DepthwiseConv2D(3)])
    assert not xla.pays(keras.Model(IMAGE, inner(IMAGE)))
    assert xla.pays(keras.Model(IMAGE, keras.layers.Conv2D(4, 3)(IMAGE)))


def test_on_gpus_it_always_pays(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    assert xla.pays(keras.Model(IMAGE, keras.layers.DepthwiseConv2D(3)(IMAGE)))


@pytest.mark.parametrize("name, compiled", [("swin", True), ("convnext", False)])
def test_predicting_with_a_new_model_is_compiled_where_it_pays(name, compiled):
    variant, shape = TOYS[name]
    model = variant(weights=None, input_shape=shape)
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    assert model.jit_compile == compiled
    np.testing.assert_allclose(model.predict_on_batch(images), model(images), rtol=1e-4)
