import keras
import numpy as np
import pytest

from keras_vit.training.step.ema import WeightEMA


def normalised():
    image = keras.Input((4,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dropout(0.5)(image))
    return keras.Model(image, keras.layers.Dense(2, name="head")(x))


def test_the_average_is_its_definition_with_a_warm_up():
    model = normalised()
    ema, kernel = WeightEMA(model, 0.5), model.get_layer("head").kernel
    expected = kernel.numpy()
    for t in range(1, 12):
        kernel.assign(np.full(kernel.shape, t, "float32"))
        ema.update(t, True)
        d = min(0.5, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * t
    averages = dict(zip((w.path for w in ema.weights), ema.averages))
    np.testing.assert_allclose(averages[kernel.path].numpy(), expected, rtol=1e-5)


def test_an_update_that_does_not_apply_changes_nothing():
    model = normalised()
    ema = WeightEMA(model, 0.5)
    before = [average.numpy() for average in ema.averages]
    model.get_layer("head").kernel.assign_add(np.ones((4, 2)))
    ema.update(5, False)
    assert all((average.numpy() == old).all() for average, old in zip(ema.averages, before))


@pytest.mark.parametrize("frozen", [False, True])
def test_statistics_are_averaged_and_frozen_weights_are_not(frozen):
    model = normalised()
    model.get_layer("norm").trainable = not frozen
    names = {w.path for w in WeightEMA(model, 0.5).weights}
    assert names >= {"head/kernel", "head/bias", "norm/moving_mean", "norm/moving_variance"}
    assert ("norm/gamma" in names) is not frozen


def test_the_mapping_runs_the_model_on_the_averages():
    model = normalised()
    ema, x = WeightEMA(model, 0.5), np.ones((1, 4), "float32")
    before = model(x, training=False).numpy()
    model.get_layer("head").kernel.assign_add(np.ones((4, 2)))
    with keras.StatelessScope(state_mapping=ema.mapping()):
        averaged = model(x, training=False).numpy()
    np.testing.assert_allclose(averaged, before)
    assert not np.allclose(model(x, training=False), before)
