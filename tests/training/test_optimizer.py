import keras
import numpy as np
import pytest

from keras_vit.models import swin
from keras_vit.models.family import Variant
from keras_vit.training import optimizer
from tests.training import toy


def built():
    """A toy Swin, for its bias tables."""
    config = swin.Config(6, depths=(1, 2), num_heads=(1, 3), window_size=2, patch_size=2)
    variant = Variant("ToySwin", swin.SWIN, config, parameters=0)
    return variant(weights=None, input_shape=(8, 8, 3), classes=3)


def test_only_kernels_decay_in_swin():
    kept = {v.path for v in built().trainable_variables if not optimizer.decayed(v)}
    decayed = {v.path for v in built().trainable_variables} - kept
    assert all(path.endswith("kernel") for path in decayed) and decayed
    assert any("bias_table" in path for path in kept)
    assert all(path.split("/")[-1] in ("gamma", "beta", "bias", "bias_table") for path in kept)


def test_tokens_tables_and_layer_scales_do_not_decay():
    from keras_vit.layers import LayerScale, PositionEmbedding, PrependToken

    for layer in (PrependToken(), PositionEmbedding(), LayerScale(1e-5)):
        layer.build((None, 4, 6))
        assert not any(optimizer.decayed(v) for v in layer.trainable_variables)


def test_convolutions_decay_and_their_biases_do_not():
    layer = keras.layers.DepthwiseConv2D(3)
    layer.build((None, 8, 8, 4))
    assert [optimizer.decayed(v) for v in (layer.kernel, layer.bias)] == [True, False]


def test_decay_moves_only_what_decays():
    model = built()
    made = optimizer.make(toy.recipe(weight_decay=0.5, warmup_epochs=0), model.trainable_variables, 5)
    before = [v.numpy() for v in model.trainable_variables]
    zeros = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    made.apply(zeros, model.trainable_variables)
    for v, old in zip(model.trainable_variables, before):
        expected = old * (1 - 0.5 * 3e-3) if optimizer.decayed(v) else old
        np.testing.assert_allclose(v.numpy(), expected, rtol=1e-6)


def test_the_schedule_rises_linearly_and_falls_as_half_a_cosine():
    schedule = optimizer.WarmupCosine(peak=1.0, steps=21, warmup_steps=10, floor=0.2)
    values = [float(schedule(step)) for step in range(21)]
    np.testing.assert_allclose(values[:10], np.arange(1, 11) / 10, rtol=1e-6)
    assert values[10] == pytest.approx(1.0)
    assert values[15] == pytest.approx(0.6)  # half way, between peak and floor
    assert values[20] == pytest.approx(0.2)
    assert float(schedule(50)) == pytest.approx(0.2)
    assert sorted(values[10:], reverse=True) == values[10:]


def test_the_schedule_without_warm_up_starts_at_the_peak():
    assert float(optimizer.WarmupCosine(0.3, 10)(0)) == pytest.approx(0.3)


def test_a_warm_up_beyond_the_end_is_refused():
    with pytest.raises(ValueError, match="between 0 and steps=5"):
        optimizer.WarmupCosine(1.0, 5, 6)


def test_the_schedule_comes_back_from_its_config():
    schedule = optimizer.WarmupCosine(0.1, 30, 4, 0.01)
    again = optimizer.WarmupCosine.from_config(schedule.get_config())
    assert [float(again(i)) for i in (0, 9, 29)] == [float(schedule(i)) for i in (0, 9, 29)]
