"""T2T-ViT's ablation backbones against their definitions."""

import math

import keras
import numpy as np
import pytest

from keras_vit.models import t2t, t2t_backbones
from keras_vit.models.family import Variant
from tests.models.toys import TOYS


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def filled(layer, x):
    """The layer, built for x, with random weights."""
    layer.build(x.shape)
    layer.set_weights([0.5 * random(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    return layer


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def linear(x, dense):
    return x @ numpy(dense.kernel) + (0 if dense.bias is None else numpy(dense.bias))


def test_channel_attention_is_the_equation():
    x = random(2, 5, 48)
    layer = filled(t2t_backbones.ChannelAttention(), x)
    hidden = np.maximum(linear(x.mean(axis=1), layer.squeeze), 0)
    assert hidden.shape == (2, 3) and (hidden > 0).any()
    weights = 1 / (1 + np.exp(-linear(hidden, layer.excite)))
    np.testing.assert_allclose(layer(x), x * weights[:, None], atol=1e-5)
    assert layer.squeeze.bias is None and layer.excite.bias is None


def test_ghost_attention_makes_half_of_its_channels_from_the_other():
    x = random(2, 5, 12)
    layer = filled(t2t_backbones.GhostAttention(3), x)
    q, k, v = (numpy(half(x)) for half in layer.halves)
    q, k, v = (np.concatenate([t, t * numpy(s)], axis=-1) for t, s in zip((q, k, v), layer.scales))
    heads = [t.reshape(2, 5, 3, 4).transpose(0, 2, 1, 3) for t in (q, k, v)]
    exponentials = np.exp(heads[0] @ heads[1].transpose(0, 1, 3, 2) / 2)
    attended = exponentials / exponentials.sum(axis=-1, keepdims=True) @ heads[2]
    expected = linear(attended.transpose(0, 2, 1, 3).reshape(2, 5, 12), layer.proj)
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


def test_ghost_perceptron_makes_both_ghosts_from_the_first():
    x = random(2, 5, 6)
    layer = filled(t2t_backbones.GhostMLP(), x)
    y = gelu(linear(x, layer.fc1))
    hidden = np.concatenate([y, gelu(y * numpy(layer.scale2)), gelu(y * numpy(layer.scale3))], axis=-1)
    np.testing.assert_allclose(layer(x), linear(hidden, layer.fc2), atol=1e-5)


@pytest.mark.parametrize("num_heads, width, message", [(5, 12, "num_heads must divide"), (3, 9, "an even number")])
def test_ghost_attention_needs_halves_and_heads(num_heads, width, message):
    with pytest.raises(ValueError, match=message):
        t2t_backbones.GhostAttention(num_heads).build((None, 5, width))


def test_ghost_has_one_ratio():
    variant = Variant("Toy", t2t_backbones.T2T_GHOST, t2t.Config(12, 1, 3, 2))
    with pytest.raises(ValueError, match="mlp_ratio of 3"):
        variant(weights=None, input_shape=(32, 32, 3))


def test_dense_block_keeps_its_input():
    x = random(2, 5, 12)
    layer = filled(t2t_backbones.DenseBlock(4, 3, 2.0), x)
    y = numpy(layer(x))
    assert y.shape == layer.compute_output_shape(x.shape) == (2, 5, 16)
    np.testing.assert_array_equal(y[..., :12], x)
    np.testing.assert_allclose(y[..., 12:], layer.dense(layer.encoder(x)), atol=1e-6)


def test_dense_widths_names_and_rates_are_the_published_ones():
    with keras.StatelessScope(initialize_variables=False):
        model = t2t_backbones.T2TViTDense(weights=None, input_shape=(224, 224, 3), drop_path_rate=0.11)
    widths = {layer.name: layer.output.shape[-1] for layer in model.layers}
    assert [widths[name] for name in ("block0", "block2", "block9", "block16", "block21")] == [192, 320, 544, 656, 584]
    assert {name: widths[name] for name in widths if "transition" in name} == {
        "transition3": 160,
        "transition10": 272,
        "transition17": 328,
    }
    rates = [model.get_layer(f"block{i}").drop_path_rate for i in (0, 2, 4, 11, 18)]
    assert rates == pytest.approx([0, 0, 0.01, 0.02, 0.03])


def test_transition_has_the_exact_gelu():
    variant, shape = TOYS["t2t_dense"]
    transition = variant(weights=None, input_shape=shape).get_layer("transition2")
    x = random(2, 5, 30)
    np.testing.assert_allclose(transition(x), gelu(linear(x, transition)), atol=1e-6)


def test_wide_and_resnext_differ_in_numbers_only():
    assert t2t_backbones.T2TViT14Wide.config == t2t.Config(768, 4, 12, 3)
    assert t2t_backbones.T2TViT14ResNeXt.config == t2t.Config(384, 14, 32, 3)
    assert t2t_backbones.T2TViT14Wide.family is t2t.T2T
