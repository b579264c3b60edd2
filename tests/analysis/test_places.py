"""Where queries and keys are, against the layout that each paper describes."""

import numpy as np
import pytest

from keras_vit.analysis.places import sites
from keras_vit.models import pvt_v2, swin
from keras_vit.models.family import Variant
from tests.models.toys import TOYS


def sites_of(toy):
    variant, shape = TOYS[toy]
    return {site.name: site for found in sites(variant(weights=None, input_shape=shape)).values() for site in found}


@pytest.mark.parametrize("toy, tokens", [("vit", 1), ("hybrid", 1), ("deit_distilled", 2), ("deit3", 1), ("t2t_se", 1)])
def test_patches_follow_the_leading_tokens_row_by_row(toy, tokens):
    site = sites_of(toy)["block1"]
    H, W = site.queries.grid
    assert site.tokens == tokens and site.queries is site.keys and not site.signed
    np.testing.assert_array_equal(site.queries.cells, [[-1] * tokens + list(range(H * W))])
    assert np.isnan(site.queries.pixels[0, :tokens]).all()


def test_places_are_the_centres_of_patches():
    site = sites_of("vit")["block0"]  # 40 x 48 pixels, patches of 8
    rows, columns = np.mgrid[4:40:8, 4:48:8]
    np.testing.assert_allclose(site.queries.pixels[0, 1:], np.stack([rows.ravel(), columns.ravel()], -1))


def test_windows_of_an_unshifted_map_are_read_row_by_row():
    cells = sites_of("swin")["stage0_block0"].queries.cells  # 12 x 15, windows of 3
    assert cells.shape == (20, 9)
    np.testing.assert_array_equal(cells[0], [0, 1, 2, 15, 16, 17, 30, 31, 32])
    np.testing.assert_array_equal(cells[1], cells[0] + 3)
    np.testing.assert_array_equal(cells[5], cells[0] + 45)


def test_shifted_windows_wrap_around():
    cells = sites_of("swin")["stage0_block1"].queries.cells  # shifted by 1
    np.testing.assert_array_equal(cells[0], [16, 17, 18, 31, 32, 33, 46, 47, 48])
    np.testing.assert_array_equal(cells[4], [28, 29, 15, 43, 44, 30, 58, 59, 45])
    np.testing.assert_array_equal(np.sort(cells.ravel()), np.arange(180))


def test_padding_of_windows_has_no_place():
    """6 x 8 in windows of 3: a column of padding at the right, behind the wrapped one where the map is shifted."""
    plain, shifted = (sites_of("swin")[f"stage1_block{b}"].queries for b in (0, 1))
    for places in (plain, shifted):
        assert (places.cells == -1).sum() == 6
        assert (np.isnan(places.pixels).all(-1) == (places.cells == -1)).all()
        np.testing.assert_array_equal(np.sort(places.cells[places.cells >= 0]), np.arange(48))
    np.testing.assert_array_equal(plain.cells[2], [6, 7, -1, 14, 15, -1, 22, 23, -1])
    np.testing.assert_array_equal(shifted.cells[2], [15, 8, -1, 23, 16, -1, 31, 24, -1])


def test_a_window_as_large_as_the_map():
    model = Variant("Toy", swin.SWIN, swin.Config(12, (2,), (3,), 7))(weights=None, input_shape=(12, 20, 3))
    for (site,) in sites(model).values():
        np.testing.assert_array_equal(site.queries.cells, [np.arange(15)])


def test_pixels_inside_patches():
    found = sites_of("tnt")  # 40 x 48, patches of 8 with 2 x 2 pixels
    inner, outer = found["block0/inner"].queries, found["block0/outer"].queries
    assert list(found) == ["block0/inner", "block0/outer", "block1/inner", "block1/outer"]
    assert inner.cells.shape == (30, 4) and inner.grid == (10, 12) and outer.grid == (5, 6)
    np.testing.assert_allclose(inner.pixels.mean(axis=1), outer.pixels[0, 1:])  # a patch lies around its centre
    np.testing.assert_allclose(inner.pixels[0], [[2, 2], [2, 6], [6, 2], [6, 6]])


def test_keys_of_reduced_maps_lie_amid_their_pixels():
    site = sites_of("pvt")["stage0_block0"]  # 10 x 12 of 4 pixels, halved
    assert site.queries.grid == (10, 12) and site.keys.grid == (5, 6) and site.tokens == 0
    np.testing.assert_allclose(site.keys.pixels[0, [0, 1, 6]], [[4, 4], [4, 12], [12, 4]])
    assert sites_of("pvt")["stage1_block0"].tokens == 1


def test_a_remainder_that_the_reduction_cuts_off_has_no_key():
    site = sites_of("pvt_v2")["stage0_block0"]  # 9 x 12, halved to 4 x 6
    assert site.keys.grid == (4, 6)
    np.testing.assert_allclose(site.keys.pixels[0, -1], [28, 41.25])  # rows 7 and 8 of 4 pixels, columns of 3.75


def test_keys_of_linear_spatial_reduction():
    found = sites_of("pvt_v2_linear")
    coarse, fine = found["stage0_block0"], found["stage1_block0"]
    assert coarse.keys.grid == fine.keys.grid == (pvt_v2.POOL, pvt_v2.POOL)
    np.testing.assert_allclose(coarse.keys.pixels[0, 0], [4, 3.75])  # the mean of 2 x 2 of 9 x 12 cells
    spans = [(i * 5 // 7, -(-(i + 1) * 5 // 7)) for i in range(7)]  # of 5 rows of 7.2 pixels
    np.testing.assert_allclose(fine.keys.pixels[0, ::7, 0], [7.2 * (a + b) / 2 for a, b in spans])


def test_scales_of_parallel_blocks():
    found = sites_of("coat")
    assert [name for name in found if name.startswith("parallel1")] == [f"parallel1/stage{s}" for s in (1, 2, 3)]
    assert found["parallel1/stage2"].queries.grid == (4, 6) and found["stage0_block0"].queries.grid == (16, 24)
    assert all(site.signed and site.tokens == 1 for site in found.values())


def test_steps_of_tokens_to_token():
    found = sites_of("t2t")
    assert list(found) == ["tokens1", "tokens2", "block0", "block1"]
    assert [site.queries.grid for site in found.values()] == [(8, 12), (4, 6), (2, 3), (2, 3)]
    assert [site.tokens for site in found.values()] == [0, 0, 1, 1]


@pytest.mark.parametrize("toy", ["convnext", "convnext_isotropic"])
def test_models_without_attention_are_refused(toy):
    with pytest.raises(ValueError, match="ConvNeXt's do not. Received: 'toy_convnext"):
        sites_of(toy)
