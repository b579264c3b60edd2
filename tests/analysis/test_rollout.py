"""Rollout against products of whole matrices."""

import keras
import numpy as np
import pytest

from keras_vit.analysis import attention, attention_maps, attention_rollout
from keras_vit.analysis.rollout import roll_out, spread
from tests.analysis.toys import attention_map, indifferent, model_and_images, noise, uniform


def softmax(seed, *shape):
    return keras.ops.convert_to_numpy(keras.ops.softmax(noise(seed, *shape)))


def half_residual(weights):
    """(A + I) / 2, heads averaged."""
    return (weights.mean(axis=1) + np.eye(weights.shape[-1])) / 2


@pytest.mark.parametrize("tokens", [1, 2])
def test_rows_of_the_product(tokens):
    weights = [softmax(seed, 2, 3, tokens + 12, tokens + 12) for seed in range(3)]
    maps = [attention_map(each, (3, 4), tokens=tokens).mean_over_heads() for each in weights]
    product = half_residual(weights[2]) @ half_residual(weights[1]) @ half_residual(weights[0])
    rows = product[:, :tokens, tokens:].mean(axis=1)
    np.testing.assert_allclose(roll_out(maps).reshape(2, 12), rows / rows.sum(-1, keepdims=True), atol=1e-6)


def test_without_tokens_it_is_the_mean_row():
    weights = [softmax(seed, 2, 1, 12, 12) for seed in range(2)]
    product = half_residual(weights[1]) @ half_residual(weights[0])
    found = roll_out([attention_map(each, (3, 4)) for each in weights])
    np.testing.assert_allclose(found.reshape(2, 12), product.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("matrix", [np.eye(12)[None, None], uniform((3, 4))], ids=["identity", "uniform"])
def test_identity_and_uniform_attention_prefer_no_place(matrix):
    np.testing.assert_allclose(roll_out([attention_map(matrix, (3, 4))] * 3), np.full((1, 3, 4), 1 / 12), atol=1e-7)


def test_a_class_token_that_looks_at_itself_alone_has_seen_nothing():
    assert not roll_out([attention_map(np.eye(13)[None, None], (3, 4), tokens=1)]).any()


def test_vit_by_its_maps():
    model, images = model_and_images("vit")
    maps = attention_maps(model, images)
    row = (half_residual(maps["block1"].weights) @ half_residual(maps["block0"].weights))[:, 0, 1:]
    expected = (row / row.sum(-1, keepdims=True)).reshape(2, 5, 6)
    np.testing.assert_allclose(attention_rollout(model, images), expected, atol=1e-6)


def stitched(found):
    """(B, H W, h w), row by row of the queries."""
    (height, width), (H, W) = found.queries.image, found.queries.grid
    pixels = [((y + 0.5) * height / H, (x + 0.5) * width / W) for y, x in np.ndindex(H, W)]
    rows = [found.of_query(*pixel).mean(axis=1) for pixel in pixels]
    return np.stack(rows, axis=1).reshape(len(rows[0]), H * W, -1)


def test_swin_by_dense_matrices():
    """Windows as dense matrices, and a mean over 2 x 2 places for the merging between the stages."""
    model, images = model_and_images("swin", input_shape=(48, 72, 3))
    blocks = [
        (stitched(found) + np.eye(found.queries.cells.size)) / 2 for found in attention_maps(model, images).values()
    ]
    merge = np.zeros((6 * 9, 12 * 18))
    for y, x in np.ndindex(12, 18):
        merge[(y // 2) * 9 + x // 2, y * 18 + x] = 1 / 4
    product = blocks[3] @ blocks[2] @ merge @ blocks[1] @ blocks[0]
    found = attention_rollout(model, images)
    assert found.shape == (2, 12, 18) and found.dtype == "float32"
    np.testing.assert_allclose(found.reshape(2, -1), product.mean(axis=1), atol=1e-6)


def test_pvt_by_dense_matrices():
    """Keys of the first stage stand for 2 x 2 places; the class token begins at the second."""
    model, images = model_and_images("pvt")
    reduced, *others = attention_maps(model, images).values()
    cells = np.zeros((5 * 6, 10 * 12))
    for y, x in np.ndindex(10, 12):
        cells[(y // 2) * 6 + x // 2, y * 12 + x] = 1 / 4  # both of the reduction and of the next patches
    first = (stitched(reduced) @ cells + np.eye(120)) / 2
    row = (half_residual(others[1].weights) @ half_residual(others[0].weights))[:, :1, 1:]
    expected = (row @ cells @ first)[:, 0]
    expected = (expected / expected.sum(-1, keepdims=True)).reshape(2, 10, 12)
    np.testing.assert_allclose(attention_rollout(model, images), expected, atol=1e-6)


UNIFORM = ["hybrid", "deit_distilled", "tnt", "pvt_v2", "pvt_v2_linear", "t2t", "t2t_transformer", "t2t_dense"]


@pytest.mark.parametrize("toy", UNIFORM)
def test_models_that_attend_evenly_prefer_no_place(toy):
    model, images = model_and_images(toy)
    found = attention_rollout(indifferent(model), images)
    maps = attention_maps(model, images)
    first = maps["block0/outer"] if toy == "tnt" else next(iter(maps.values()))
    assert found.shape == (2, *first.queries.grid)
    np.testing.assert_allclose(found, np.full_like(found, 1 / found[0].size), rtol=2e-4)


def test_padding_of_windows_is_left_out():
    model, images = model_and_images("swin")  # 12 x 15, then 6 x 8 in windows of 3
    found = attention_rollout(model, images)
    assert found.shape == (2, 12, 15) and found.min() > 0
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, atol=1e-5)


def test_batches_do_not_matter(monkeypatch):
    model, images = model_and_images("pvt", count=5)
    whole = attention_rollout(model, images)
    monkeypatch.setattr(attention, "BATCH", 2)
    np.testing.assert_allclose(attention_rollout(model, images), whole, atol=1e-6)


def test_shares_are_spread_evenly():
    shares = np.array([[[1.0, 2.0], [3.0, 6.0]]])
    np.testing.assert_allclose(spread(shares, (4, 4)), np.kron(shares, np.full((2, 2), 0.25)))
    thirds = spread(shares, (2, 3))  # the middle column is half of either
    np.testing.assert_allclose(thirds, [[[2 / 3, 1, 4 / 3], [2, 3, 4]]])
    np.testing.assert_allclose(spread(shares, (1, 1)), [[[12]]])


@pytest.mark.parametrize("toy", ["coat", "coat_lite"])
def test_weights_of_both_signs_are_refused(toy):
    with pytest.raises(ValueError, match="attention_rollout: expected.*toy_coa.*both signs"):
        attention_rollout(*model_and_images(toy))
