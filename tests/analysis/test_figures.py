"""Figures hold what they were given: tiles in their places, colours, numbers and texts."""

import numpy as np
import pytest

from keras_vit.analysis import figures


def texts(figure):
    """Everything written on a figure."""
    from matplotlib.text import Text

    figure.canvas.draw()
    return {text.get_text() for text in figure.findobj(Text) if text.get_text()}


def test_tiles_lie_side_by_side():
    tiles = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    whole = figures.side_by_side(tiles)
    assert whole.shape == (2 * 4 + 1, 3 * 5 + 2)
    np.testing.assert_array_equal(whole[5:, 6:11], tiles[1, 1])
    assert np.isnan(whole[4]).all() and np.isnan(whole[:, 5]).all()


def test_position_similarity_shows_at_most_eight_rows_and_columns():
    maps = np.random.default_rng(0).uniform(-1, 1, (15, 4, 15, 4))
    figure = figures.plot_position_similarity({"positions": maps, "pixel_positions": maps[:2, :2, :2, :2]})
    first, second = figure.axes[:2]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["1", "3", "5", "7", "9", "11", "13", "15"]
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["1", "2", "3", "4"]
    shown = first.images[0].get_array()
    np.testing.assert_allclose(shown[16:31, :4], maps[2, 0], atol=1e-6)
    assert first.images[0].get_clim() == (-1, 1)
    assert {"cosine similarity", "Similarity of position embeddings"} <= texts(figure)
    assert second.get_xlabel() == "column of the pixel of a patch"


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_are_scaled_around_grey(channels):
    filters = np.zeros((9, 2, 2, channels), "float32")
    filters[:, 0, 1] = np.linspace(0.1, 1, 9)[:, None, None][:, 0]
    filters[:, 1, 0] = -filters[:, 0, 1]
    figure = figures.plot_patch_filters(filters)
    (image,) = figure.axes[0].images
    tile = np.asarray(image.get_array())[: 2 * figures.FINER : figures.FINER, : 2 * figures.FINER : figures.FINER]
    np.testing.assert_allclose(tile[..., 0], [[0.5, 1], [0, 0.5]])
    assert any("first 9 principal components" in text for text in texts(figure))


def test_filters_that_are_no_images():
    for shape in ((3, 4, 4, 2), (0, 4, 4, 3)):
        with pytest.raises(ValueError, match="filters: expected"):
            figures.plot_patch_filters(np.zeros(shape))


def test_biases_have_a_row_per_block_and_zero_in_the_middle_of_the_colours():
    rng = np.random.default_rng(0)
    biases = {"stage0_block0": rng.normal(size=(3, 5, 5)), "stage1_block0": rng.normal(size=(12, 3, 3))}
    figure = figures.plot_relative_position_biases(biases)
    rows = [axis for axis in figure.axes if axis.images and axis.get_ylabel().startswith("stage")]
    low, high = rows[0].images[0].get_clim()
    assert len(rows) == 2 and low == -high
    np.testing.assert_allclose(rows[0].images[0].get_array()[:, :5], biases["stage0_block0"][0], atol=1e-6)
    assert {"stage0_block0\n3 heads", "stage1_block0\n8 of 12 heads", "bias, added to the score"} <= texts(figure)


def test_relevance_lies_over_the_whole_image():
    images, heat = np.random.default_rng(0).uniform(size=(5, 8, 12, 3)), np.zeros((5, 2, 3))
    figure = figures.plot_relevance(images, heat, titles=[f"a $class$ {i}" for i in range(5)])
    below, above = figure.axes[0].images
    assert below.get_extent() == above.get_extent() and above.get_clim() == (0, 1)
    assert {"a $class$ 4", "relevance"} <= texts(figure)
    with pytest.raises(ValueError, match="5 images, 4 relevances, 5 titles"):
        figures.plot_relevance(images, heat[:4])


def test_receptive_fields_name_the_sides_of_their_squares():
    field = np.zeros((9, 9))
    field[4, 4], field[3:6, 3:6] = 1, field[3:6, 3:6] + 0.05
    field[4, 4] = 1
    figure = figures.plot_effective_receptive_field({"stage0_block1": field, "last": field})
    solid, dashed = figure.axes[0].patches
    assert solid.get_bbox().bounds == (3.5, 3.5, 1, 1) and dashed.get_bbox().bounds == (2.5, 2.5, 3, 3)
    assert {"stage0_block1", "50 % in 1 px (solid)\n95 % in 3 px (dashed)"} <= texts(figure)


def test_figures_open_no_window(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would fail
    figures.plot_effective_receptive_field({"last": np.eye(5)})
