"""Attention maps of every toy against what their blocks compute, and stitched maps against dense ones."""

import keras
import numpy as np
import pytest

from keras_vit.analysis import attention as maps_of_attention
from keras_vit.analysis import attention_maps
from keras_vit.analysis.attention import AttentionProbe
from keras_vit.layers import attention, spatial_reduction, split_heads, window_attention
from keras_vit.models import coat, swin, t2t, t2t_backbones
from tests.analysis.toys import ATTENDING, attention_map, model_and_images, noise, uniform
from tests.models.cases import params


@pytest.fixture
def values(monkeypatch):
    """What attention is applied to and what comes out, (B, h, K, d) and (B, h, Q, d), in the order of the calls."""
    kept = []

    def watch(owner, name, values_of, heads_of):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            result = original(*arguments, **options)
            kept.append((values_of(*arguments), heads_of(result, *arguments)))
            return result

        monkeypatch.setattr(owner, name, watched)

    for module in (attention, spatial_reduction, window_attention, t2t, t2t_backbones):
        watch(module, "scaled_dot_product_attention", lambda q, k, v, *rest: v, lambda result, *arguments: result)
    factorised = (lambda qkv, h: split_heads(np.split(qkv, 3, -1)[2], h), lambda result, qkv, h: split_heads(result, h))
    watch(coat, "factorised_attention", *factorised)
    watch(
        t2t, "linear_attention", lambda q, k, v: np.expand_dims(v, 1), lambda result, *rest: np.expand_dims(result, 1)
    )
    return kept


@pytest.mark.parametrize("toy", ATTENDING)
def test_weights_times_values_are_what_each_block_attends_to(toy, values):
    model, images = model_and_images(toy)
    probe = AttentionProbe(model)
    maps = list(probe(images))
    calls = values[-len(maps) :]  # of the blocks, after those of the whole model
    assert len(maps) == sum(map(len, probe.sites(images).values()))
    for (name, found), (v, result) in zip(maps, calls):
        np.testing.assert_allclose(found.weights @ np.asarray(v), result, atol=2e-5, err_msg=name)
        if not found.signed:
            assert found.weights.min() >= 0
            sums = found.weights.sum(axis=-1)
            assert sums.max() < 1 + 1e-5 and (found.right is not None or sums.min() > 1 - 1e-5)
        assert found.weights.shape[0] == 2 * len(found.queries.cells)
        assert found.weights.shape[2:] == (found.queries.cells.shape[1], found.keys.cells.shape[1])


@pytest.mark.parametrize("toy", params(("swin", "tnt", "coat_lite"), ATTENDING))
def test_maps_of_a_reloaded_model(toy, tmp_path):
    model, images = model_and_images(toy)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for (name, ours), (other, theirs) in zip(
        *(attention_maps(m, images).items() for m in (model, loaded)), strict=True
    ):
        assert name == other
        np.testing.assert_array_equal(ours.received(), theirs.received())


def dense_attention(block, x):
    """(h, H W, H W), seen from outside: the values are 1 at one place of the map, and 0 at all others.

    The last channel of a map is what values are made of, the others give queries and keys.
    """
    H, W, C = x.shape
    h = block.num_heads
    kernel = noise(3, C, 3 * C)
    kernel[-1], kernel[:, 2 * C :], kernel[-1, 2 * C :] = 0, 0, 1
    block.attn.qkv.kernel.assign(kernel)
    block.attn.qkv.bias.assign(np.append(noise(4, 2 * C), np.zeros(C)))
    block.attn.proj.kernel.assign(np.eye(C))
    block.attn.bias_table.assign(noise(5, *block.attn.bias_table.shape))
    maps = np.repeat(x[None], H * W, axis=0)
    maps[..., -1] = np.eye(H * W).reshape(H * W, H, W)
    seen = keras.ops.convert_to_numpy(block.windowed_attention(maps)).reshape(H * W, H * W, h, C // h)
    return seen[..., 0].transpose(2, 1, 0)  # key query h -> h query key


@pytest.mark.parametrize("grid", [(6, 9), (5, 8)], ids=["whole windows", "padded"])
@pytest.mark.parametrize("shift", [(0, 0), (1, 1)], ids=["plain", "shifted"])
def test_stitched_windows_are_the_dense_map(grid, shift):
    block = swin.SwinBlock(3, (3, 3), shift, name="stage0_block0")
    image = keras.Input((*grid, 12))
    model = keras.Model(image, block(keras.layers.Identity(name="patch_embed")(image)))
    x = noise(0, *grid, 12)
    expected = dense_attention(block, x)
    block.norm1.call = lambda x: x  # the attention is watched as it was measured
    found = attention_maps(model, x[None])["stage0_block0"]
    for y, x in np.ndindex(grid):
        np.testing.assert_allclose(
            found.of_query(y + 0.5, x + 0.5)[0].reshape(3, -1), expected[:, y * grid[1] + x], atol=1e-5
        )
    np.testing.assert_allclose(found.received()[0].reshape(3, -1), expected.mean(axis=1), atol=1e-5)


def test_received_and_rows_of_a_dense_map():
    weights = keras.ops.convert_to_numpy(keras.ops.softmax(noise(0, 2, 3, 14, 14)))
    found = attention_map(weights, (3, 4), (12, 16), tokens=2)
    np.testing.assert_allclose(found.received(), weights[:, :, 2:, 2:].mean(2).reshape(2, 3, 3, 4), atol=1e-6)
    np.testing.assert_array_equal(found.of_query(7.9, 8), weights[:, :, 8, 2:].reshape(2, 3, 3, 4))
    np.testing.assert_array_equal(found.of_token(1), weights[:, :, 1, 2:].reshape(2, 3, 3, 4))
    np.testing.assert_allclose(found.mean_over_heads().weights[:, 0], weights.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("toy", ["swin", "tnt", "coat_lite", "t2t"])
def test_runs_of_queries_give_what_the_whole_gives(toy, monkeypatch):
    maps = attention_maps(*model_and_images(toy))
    whole = {name: (found.received(), found.distances()) for name, found in maps.items()}
    monkeypatch.setattr(maps_of_attention, "CHUNK", 1000)
    for name, found in maps.items():
        assert name.endswith("/inner") or len(list(found.runs())) > 1 or found.weights.size <= 1000
        np.testing.assert_allclose(found.received(), whole[name][0], atol=1e-6)
        np.testing.assert_allclose(found.distances(), whole[name][1], rtol=1e-5)


@pytest.mark.parametrize("toy", ["coat_lite", "t2t"])
def test_linear_attention_is_kept_as_its_factors(toy):
    found = next(iter(attention_maps(*model_and_images(toy)).values()))
    assert found.left.size + found.right.size < found.weights.size / 2
    np.testing.assert_allclose(
        found.of_query(1, 1)[0, 0].ravel(), found.weights[0, 0, found.tokens, found.tokens :], atol=1e-6
    )


@pytest.mark.parametrize("toy", ["vit", "coat", "t2t"])
def test_reduced_precision(toy):
    for found in attention_maps(*model_and_images(toy, dtype="mixed_bfloat16")).values():
        assert found.weights.dtype == "float32" and np.isfinite(found.distances()).all()


def test_uniform_attention_is_received_evenly():
    np.testing.assert_allclose(
        attention_map(uniform((3, 4)), (3, 4)).received(), np.full((1, 1, 3, 4), 1 / 12), rtol=1e-6
    )


def test_arguments_that_do_not_fit_are_refused():
    model, images = model_and_images("vit")
    with pytest.raises(ValueError, match=r"expected \(B, 40, 48, 3\).*Received: \(2, 20, 48, 3\)"):
        attention_maps(model, images[:, :20])
    maps = attention_maps(model, images)
    with pytest.raises(ValueError, match="a pixel of the image, 40 x 48. Received: y=40, x=0"):
        maps["block0"].of_query(40, 0)
    with pytest.raises(ValueError, match="block1 has 1 leading tokens.*index=1"):
        maps["block1"].of_token(1)
    with pytest.raises(ValueError, match="expected a model of keras_vit.models.*Received: 'plain'"):
        attention_maps(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()], name="plain"), images)
    with pytest.raises(ValueError, match="0 such blocks and 0 inputs"):
        attention_maps(lambda x: x, images)
