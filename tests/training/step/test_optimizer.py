import keras
import numpy as np
import pytest

from keras_vit.models import swin
from keras_vit.models.family import Variant
from keras_vit.training.step import optimizer
from tests.training import toy


def built():
    """A toy Swin, for its bias tables."""
    config = swin.Config(6, depths=(1, 2), num_heads=(1, 3), window_size=2, patch_size=2)
    variant = Variant("ToySwin", swin.SWIN, config, parameters=0)
    return variant(weights=None, input_shape=(8, 8, 3), classes=3)


def dense(kernel):
    """A model that is one kernel and one bias."""
    layer = keras.layers.Dense(kernel.shape[1], name="head")
    image = keras.Input((kernel.shape[0],))
    model = keras.Model(image, layer(image))
    layer.kernel.assign(kernel)
    return model


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


@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_weight_decay_changes_only_kernels(opt):
    model = built()
    ours = optimizer.make(toy.recipe(opt=opt, weight_decay=0.5, warmup_epochs=0), model, 5)
    before = [v.numpy() for v in model.trainable_variables]
    ours.apply([np.zeros(v.shape, "float32") for v in model.trainable_variables], model.trainable_variables, True)
    for v, old in zip(model.trainable_variables, before):
        expected = old * (1 - 0.5 * 3e-3) if optimizer.decayed(v) else old
        np.testing.assert_allclose(v.numpy(), expected, rtol=1e-6)


def test_adamw_is_that_of_keras():
    kernel = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    gradients = [np.random.default_rng(i).normal(size=(4, 3)).astype("float32") for i in range(3)]
    model = dense(kernel)
    ours = optimizer.make(toy.recipe(weight_decay=0.1, opt_betas=(0.8, 0.95)), model, 4)
    schedule = optimizer.WarmupCosine(3e-3, steps=8, warmup_steps=4, floor=1e-6)
    theirs, variable = keras.optimizers.AdamW(schedule, 0.1, 0.8, 0.95, 1e-8), keras.Variable(kernel)
    for gradient in gradients:
        ours.apply([gradient, np.zeros(3, "float32")], model.trainable_variables, True)
        theirs.apply([gradient], [variable])
    np.testing.assert_allclose(model.get_weights()[0], variable.numpy(), rtol=1e-5, atol=1e-7)


def test_lamb_is_algorithm_2():
    w = np.random.default_rng(0).normal(size=(4, 3))
    model = dense(w)
    rate, decay, b1, b2, eps = 0.1, 0.3, 0.8, 0.95, 1e-6
    changes = {"opt": "lamb", "lr": rate, "min_lr": rate, "warmup_epochs": 0, "opt_betas": (b1, b2)}
    ours = optimizer.make(toy.recipe(weight_decay=decay, **changes), model, 4)
    m = v = 0
    bias = np.zeros(3)
    for t in (1, 2, 3):
        g = np.random.default_rng(t).normal(size=(4, 3))
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        r = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        u = r + decay * w
        w = w - rate * np.linalg.norm(w) / np.linalg.norm(u) * u
        ours.apply([g.astype("float32"), np.ones(3, "float32")], model.trainable_variables, True)
        bias = bias - rate / (1 + eps)  # a constant gradient: m = sqrt(v) after correction, and no trust ratio
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias, rtol=1e-4)


def test_the_trust_ratio_is_one_if_weights_or_step_are_zero():
    ratios = [optimizer.trust_ratio(*pair) for pair in ((np.zeros(2), np.ones(2)), (np.ones(2), np.zeros(2)))]
    assert [float(ratio) for ratio in ratios] == [1, 1]


@pytest.mark.parametrize("opt", ["adamw", "lamb", "sgd"])
def test_an_update_that_does_not_apply_changes_nothing_but_the_count(opt):
    model = built()
    ours = optimizer.make(toy.recipe(opt=opt, weight_decay=0.5), model, 5)
    gradients = [np.full(v.shape, np.nan, "float32") for v in model.trainable_variables]
    variables = [*model.trainable_variables, *ours.variables[2:]]
    before = [v.numpy() for v in variables]
    ours.apply(gradients, model.trainable_variables, False)
    assert all((v.numpy() == old).all() for v, old in zip(variables, before))
    assert int(ours.iterations.numpy()) == 1


def test_rates_fall_by_depth():
    model = built()
    scales = optimizer.rate_scales(model, model.trainable_variables, 0.5)
    by_layer = {v.path.split("/")[0]: scale for v, scale in zip(model.trainable_variables, scales)}
    assert by_layer == {
        **{"patch_embed": 1 / 16, "patch_norm": 1 / 16, "stage0_block0": 1 / 8, "merge1": 1 / 4},
        **{"stage1_block0": 1 / 4, "stage1_block1": 1 / 2, "norm": 1, "head": 1},
    }


def test_the_rate_of_a_layer_scales_its_decay_too():
    model = built()
    changes = {"opt": "sgd", "momentum": 0.0, "layer_decay": 0.5, "weight_decay": 0.5, "warmup_epochs": 0, "lr": 0.1}
    ours = optimizer.make(toy.recipe(**changes), model, 5)
    variables = model.trainable_variables
    before, scales = [v.numpy() for v in variables], optimizer.rate_scales(model, variables, 0.5)
    ours.apply([np.ones(v.shape, "float32") for v in variables], variables, True)
    for v, old, scale in zip(variables, before, scales):
        rate = 0.1 * scale
        expected = old * (1 - rate * 0.5 * optimizer.decayed(v)) - rate
        np.testing.assert_allclose(v.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_frozen_layers_have_no_moments():
    model = built()
    model.get_layer("patch_embed").trainable = False
    ours = optimizer.make(toy.recipe(), model, 5)
    assert not any("patch_embed" in v.path for v in ours.variables)


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
