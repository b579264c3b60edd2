"""The encoder block against its equations in numpy, and what each argument changes."""

import zlib

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import erf

from keras_vit.layers import EncoderBlock

SHAPE = (2, 5, 12)  # B N C


def build(**arguments):
    """A block of three heads; the values of a weight follow from its path."""
    block = EncoderBlock(3, 2.5, **arguments)
    block.build(SHAPE)
    for variable in block.trainable_variables:
        noise = np.random.default_rng(zlib.crc32(variable.path.split("/", 1)[1].encode()))
        start = 1 if variable.path.endswith("norm1/gamma") else 0
        variable.assign(start + 0.3 * noise.standard_normal(variable.shape))
    return block


def tokens():
    return np.random.default_rng(1).standard_normal(SHAPE).astype("float32")


def weights(block):
    return {v.path.split("/", 1)[1]: ops.convert_to_numpy(v).astype("float64") for v in block.trainable_variables}


def norm(x, w, name, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + epsilon) * w[f"{name}/gamma"] + w[f"{name}/beta"]


def attention(x, w, num_heads):
    B, N, C = x.shape
    d = C // num_heads
    qkv = x @ w["attn/qkv/kernel"] + w.get("attn/qkv/bias", 0)
    out = np.zeros_like(x)
    for h in range(num_heads):
        q, k, v = (qkv[:, :, part * C + h * d : part * C + (h + 1) * d] for part in range(3))
        scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(d))
        out[:, :, h * d : (h + 1) * d] = scores / scores.sum(-1, keepdims=True) @ v
    return out @ w["attn/proj/kernel"] + w["attn/proj/bias"]


def mlp(x, w):
    hidden = x @ w["mlp/fc1/kernel"] + w["mlp/fc1/bias"]
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2  # the exact GELU
    return hidden @ w["mlp/fc2/kernel"] + w["mlp/fc2/bias"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"epsilon": 0.1},
        {"qkv_bias": False},
        {"layer_scale": 0.5},
        {"layer_scale": 0.0, "epsilon": 0.1},
    ],
    ids=str,
)
def test_equals_the_equations(arguments):
    block, x = build(**arguments), tokens()
    w, epsilon = weights(block), arguments.get("epsilon", 1e-6)
    attended = x + w.get("scale1/gamma", 1) * attention(norm(x, w, "norm1", epsilon), w, 3)
    expected = attended + w.get("scale2/gamma", 1) * mlp(norm(attended, w, "norm2", epsilon), w)
    np.testing.assert_allclose(block(x), expected, atol=2e-5)


def test_variable_paths_are_those_of_the_checkpoint_rules():
    parts = ("norm1/gamma", "norm1/beta", "norm2/gamma", "norm2/beta")
    dense = ("attn/qkv", "attn/proj", "mlp/fc1", "mlp/fc2")
    expected = {*parts, *(f"{name}/{part}" for name in dense for part in ("kernel", "bias"))}
    assert set(weights(build())) == expected
    assert set(weights(build(layer_scale=1.0))) == {*expected, "scale1/gamma", "scale2/gamma"}
    assert set(weights(build(qkv_bias=False))) == expected - {"attn/qkv/bias"}
    assert set(weights(build(relative_positions=True))) == {*expected, "attn/offset_keys"}


def test_layer_scale_starts_at_its_initial_value():
    block = EncoderBlock(3, layer_scale=1e-4)
    block.build(SHAPE)
    np.testing.assert_allclose(block.scale1.gamma, np.full(12, 1e-4, "float32"))
    np.testing.assert_allclose(block.scale2.gamma, np.full(12, 1e-4, "float32"))


def test_hidden_width_is_the_ratio_rounded_down():
    assert build().mlp.hidden_dim == 30
    block = EncoderBlock(3, 2.6)
    block.build(SHAPE)
    assert block.mlp.hidden_dim == 31


def test_drop_path_skips_whole_samples_in_training_only():
    block = build(drop_path_rate=0.5)
    x = np.repeat(tokens()[:1], 64, axis=0)
    np.testing.assert_allclose(block(x, training=False), build()(x), atol=1e-6)
    y = ops.convert_to_numpy(block(x, training=True))
    different = {np.round(sample, 3).tobytes() for sample in y}
    assert len(different) == 4  # neither branch, either, both
    assert any(np.array_equal(sample, x[0]) for sample in y)


def test_arguments_survive_serialisation():
    arguments = {"epsilon": 0.1, "qkv_bias": False, "layer_scale": 0.5, "relative_positions": True}
    block = EncoderBlock(3, 2.5, 0.25, **arguments, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert again.get_config() == block.get_config()
    assert {name: getattr(again, name) for name in arguments} == arguments
    assert (again.name, again.num_heads, again.mlp_ratio, again.drop_path_rate) == (
        "mine",
        3,
        2.5,
        0.25,
    )


def test_attention_is_equivariant_without_positions_and_not_with_them():
    x, order = tokens(), np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(build()(x[:, order]), ops.convert_to_numpy(build()(x))[:, order], atol=1e-5)
    relative = build(relative_positions=True)
    assert not np.allclose(relative(x[:, order]), ops.convert_to_numpy(relative(x))[:, order], atol=1e-3)


def test_relative_positions_add_the_scores_of_learned_keys():
    attn = build(relative_positions=True).attn
    q = np.random.default_rng(2).standard_normal((2, 3, 5, 4)).astype("float32")
    keys = ops.convert_to_numpy(attn.offset_keys)
    assert keys.shape == (9, 4)
    expected = np.zeros((2, 3, 5, 5))
    for i in range(5):
        for j in range(5):
            expected[:, :, i, j] = q[:, :, i] @ keys[i - j + 4]
    np.testing.assert_allclose(attn.offset_scores(q), expected, atol=1e-5)


def test_relative_positions_of_zero_are_none():
    relative, plain, x = build(relative_positions=True), build(), tokens()
    for variable in plain.trainable_variables:
        path = variable.path.split("/", 1)[1]
        variable.assign(weights(relative)[path])
    changed = ops.convert_to_numpy(relative(x))
    relative.attn.offset_keys.assign(np.zeros((9, 4)))
    np.testing.assert_allclose(relative(x), plain(x), atol=1e-6)
    assert not np.allclose(changed, plain(x), atol=1e-3)
