"""Mean attention distance of attention whose distance is known."""

import itertools
import math

import numpy as np
import pytest

from keras_vit.analysis import attention, attention_maps, mean_attention_distance
from tests.analysis.toys import attention_map, indifferent, model_and_images, uniform


def mean_distance(queries, keys):
    """Of all pairs, one by one."""
    pairs = [math.dist(q, k) for q, k in itertools.product(queries, keys)]
    return sum(pairs) / len(pairs)


def centres(grid, cell=(1, 1)):
    return [((y + 0.5) * cell[0], (x + 0.5) * cell[1]) for y, x in np.ndindex(*grid)]


def test_identity_has_distance_0():
    assert attention_map(np.eye(12)[None, None], (3, 4)).distances() == [0]


def test_neighbours_are_a_patch_away():
    """Head 0 looks to the right, head 1 down, around the border: 3 steps of 16 pixels and 1 of 48; 2 and 1 of 32."""
    numbers = np.arange(12).reshape(3, 4)
    heads = [np.eye(12)[np.roll(numbers, -1, axis).ravel()] for axis in (1, 0)]
    found = attention_map(np.stack(heads)[None], (3, 4), (48, 64)).distances()
    np.testing.assert_allclose(found, [16 * (3 + 3) / 4, 16 * (2 + 2) / 3])


@pytest.mark.parametrize("grid", [(3, 4), (7, 7), (1, 5)])
def test_uniform_attention_has_the_mean_distance_of_two_places(grid):
    expected = mean_distance(centres(grid, (2, 3)), centres(grid, (2, 3)))
    found = attention_map(uniform(grid), grid, (2 * grid[0], 3 * grid[1])).distances()
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_uniform_attention_on_a_fine_square():
    """The mean distance of two points of the unit square, (2 + sqrt 2 + 5 arsinh 1) / 15 = 0.5214."""
    found = attention_map(uniform((32, 32)), (32, 32), (1, 1)).distances()
    np.testing.assert_allclose(found, [(2 + math.sqrt(2) + 5 * math.asinh(1)) / 15], rtol=1e-3)


def test_class_tokens_are_left_out_and_weights_renormalised():
    patches = np.random.default_rng(0).dirichlet(np.ones(12), 12)
    weights = np.zeros((14, 14))
    weights[2:, 2:], weights[2:, 0], weights[:2, 5] = 0.3 * patches, 0.7, 1
    alone, behind = attention_map(patches[None, None], (3, 4)), attention_map(weights[None, None], (3, 4), tokens=2)
    np.testing.assert_allclose(behind.distances(), alone.distances(), rtol=1e-6)


def test_a_query_that_looks_at_no_place_is_left_out():
    weights = np.zeros((2, 13, 13))
    weights[:, :, 0] = 1
    weights[1, 1, 0], weights[1, 1, 4] = 0, 1  # the first place looks at the fourth
    np.testing.assert_array_equal(attention_map(weights[None], (3, 4), tokens=1).distances(), [np.nan, 3])


def test_signed_weights_count_by_their_magnitude():
    weights = np.random.default_rng(0).standard_normal((1, 2, 12, 12))
    signed, magnitudes = attention_map(weights, (3, 4), signed=True), attention_map(abs(weights), (3, 4))
    np.testing.assert_array_equal(signed.distances(), magnitudes.distances())


@pytest.mark.parametrize("toy", ["vit", "deit_distilled", "t2t", "t2t_ghost", "tnt", "pvt", "swin"])
def test_uniform_attention_of_models(toy):
    """Zero queries make all keys alike: what is averaged are then all pairs of query and key that see each other."""
    model, images = model_and_images(toy, **({"input_shape": (48, 48, 3)} if toy == "swin" else {}))
    found = mean_attention_distance(indifferent(model), images)
    for name, each in attention_maps(model, images).items():
        if toy == "swin" and name.endswith("1"):
            continue  # the mask of shifted windows keeps some keys from some queries
        windows = zip(each.queries.pixels[:, each.tokens :], each.keys.pixels[:, each.tokens :])
        expected = np.mean([mean_distance(*window) for window in windows])
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)


def test_known_constants_of_models():
    """Patches of 8 pixels, 5 x 6 of them; windows of 3 x 3 patches of 4 pixels."""
    model, images = model_and_images("vit")
    patches = mean_distance(*[centres((5, 6), (8, 8))] * 2)
    np.testing.assert_allclose(mean_attention_distance(indifferent(model), images)["block1"], [patches] * 3, rtol=1e-5)
    model, images = model_and_images("swin")
    window = mean_distance(*[centres((3, 3), (4, 4))] * 2)
    found = mean_attention_distance(indifferent(model), images)["stage0_block0"]
    np.testing.assert_allclose(found, [window] * 3, rtol=1e-5)


def test_images_are_averaged_over_batches(monkeypatch):
    model, images = model_and_images("swin", count=5)
    monkeypatch.setattr(attention, "BATCH", 2)
    found = mean_attention_distance(model, images)
    single = [mean_attention_distance(model, images[i : i + 1]) for i in range(5)]
    for name in found:
        np.testing.assert_allclose(found[name], np.mean([each[name] for each in single], axis=0), rtol=1e-5)


def test_no_images_are_refused():
    model, images = model_and_images("vit")
    with pytest.raises(ValueError, match="expected at least one"):
        mean_attention_distance(model, images[:0])
