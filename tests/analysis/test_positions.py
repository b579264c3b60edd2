"""Similarity of positions, against brute force and by algebra."""

import numpy as np
import pytest

from keras_vit.analysis import position_similarity
from keras_vit.models import vit
from keras_vit.models.family import Variant
from tests.models.toys import TOYS

TABLES = {
    **{
        name: {"positions": (5, 6)}
        for name in ("vit", "hybrid", "hybrid_stem", "deit", "deit_distilled", "deit_one_head", "deit3")
    },
    **{name: {"positions": (5, 6)} for name in ("dinov2", "dinov2_registers")},
    **{name: {"pixel_positions": (2, 2), "positions": (5, 6)} for name in ("tnt", "tnt_legacy")},
    **{name: {"positions": (2, 3)} for name in ("t2t", "t2t_transformer", "t2t_se", "t2t_ghost", "t2t_dense")},
    "pvt": {"stage0_positions": (10, 12), "stage1_positions": (5, 6)},
}


def toy(name):
    variant, shape = TOYS[name]
    return variant(weights=None, input_shape=shape, classes=5)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_against_brute_force(name):
    model = toy(name)
    similarity = position_similarity(model)
    assert {layer: maps.shape for layer, maps in similarity.items()} == {
        layer: grid + grid for layer, grid in TABLES[name].items()
    }
    for layer, (H, W) in TABLES[name].items():
        table = model.get_layer(layer).table.numpy().reshape(-1, model.get_layer(layer).table.shape[-1])
        places = table[-H * W :]  # class and distillation tokens come first
        for a, b in ((0, H * W - 1), (1, W), (H * W // 2, 2)):
            expected = places[a] @ places[b] / np.linalg.norm(places[a]) / np.linalg.norm(places[b])
            np.testing.assert_allclose(similarity[layer][a // W, a % W, b // W, b % W], expected, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(TOYS) - set(TABLES)))
def test_models_without_a_table_say_so(name):
    with pytest.raises(ValueError, match="has no table of position embeddings"):
        position_similarity(toy(name))


def test_equal_embeddings_are_alike_and_opposite_ones_opposite():
    model = toy("vit")
    table = np.ones((1, 31, 24), "float32")
    table[:, 1 + 6 :] = -2  # all rows of the grid but the first
    model.get_layer("positions").table.assign(table)
    maps = position_similarity(model)["positions"]
    np.testing.assert_allclose(maps[0, :, 0], 1, atol=1e-6)
    np.testing.assert_allclose(maps[1:, :, 1:], 1, atol=1e-6)
    np.testing.assert_allclose(maps[0, :, 1:], -1, atol=1e-6)


def test_a_sinusoid_is_alike_at_equal_distances_in_the_sequence():
    maps = position_similarity(toy("t2t"))["positions"].reshape(6, 6)
    for distance in range(6):
        diagonal = np.diagonal(maps, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-6)
    np.testing.assert_allclose(maps, maps.T, atol=1e-6)


def test_two_dimensional_positions_share_half_with_their_row_and_column():
    variant = Variant("Toy", vit.VIT, vit.Config(24, 1, 3, 8, positions="learned_2d"))
    model = variant(weights=None, input_shape=(40, 48, 3))
    layer = model.get_layer("positions")
    layer.columns.assign(np.eye(6, 12))
    layer.rows.assign(np.eye(5, 12))
    maps = position_similarity(model)["positions"]
    rows, columns = np.eye(5), np.eye(6)
    np.testing.assert_allclose(maps, (rows[:, None, :, None] + columns[None, :, None, :]) / 2, atol=1e-6)


def test_a_place_without_an_embedding_is_like_no_other():
    model = toy("deit3")
    table = model.get_layer("positions").table
    values = table.numpy()
    values[0, 0] = 0
    table.assign(values)
    maps = position_similarity(model)["positions"]
    assert not maps[0, 0].any() and maps[0, 1].any()
