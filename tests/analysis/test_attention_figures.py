"""What the figures of attention show, and that nothing on them is cut."""

import numpy as np
import pytest

from keras_vit.analysis import (
    attention_maps,
    attention_rollout,
    mean_attention_distance,
    plot_attention_maps,
    plot_attention_rollout,
    plot_mean_attention_distance,
)
from tests.analysis.toys import model_and_images


@pytest.fixture(scope="module")
def toy_maps():
    """Images and maps of a model."""
    found = {}

    def maps_of(toy):
        if toy not in found:
            model, images = model_and_images(toy)
            found[toy] = images, attention_maps(model, images)
        return found[toy]

    return maps_of


def titles(figure):
    return [axis.get_title() or axis.get_title("left") for axis in figure.axes]


def assert_nothing_is_cut(figure):
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_panels_of_the_class_token(toy_maps):
    images, maps = toy_maps("vit")
    figure = plot_attention_maps(maps, images, index=1)
    assert titles(figure) == ["image", "block0\nof the class token", "block1\nof the class token", ""]
    heat = figure.axes[2].images[1].get_array()
    np.testing.assert_array_equal(heat, maps["block1"].of_token()[1].mean(axis=0))
    assert figure.axes[2].images[1].get_extent() == [0, 48, 40, 0]
    assert figure.texts[0].get_text() == "Attention by block, mean over heads"
    assert_nothing_is_cut(figure)


def test_panels_of_a_query(toy_maps):
    images, maps = toy_maps("swin")
    figure = plot_attention_maps(maps, images, query=(10, 50), blocks=["stage0_block1"])
    assert titles(figure)[1] == "stage0_block1\nseen from the ring"
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_offsets(), [[50, 10]])
    heat = figure.axes[1].images[1].get_array()
    np.testing.assert_array_equal(heat, maps["stage0_block1"].of_query(10, 50)[0].mean(axis=0))


def test_each_head(toy_maps):
    images, maps = toy_maps("pvt")
    figure = plot_attention_maps(maps, images, by_head=True)
    assert titles(figure)[:4] == [
        "image",
        "stage0_block0, head 0\nreceived",
        "image",
        "stage1_block0, head 0\nof the class token",
    ]
    assert len(figure.axes) == (1 + 1) + 2 * (1 + 3) + 1  # and the bar of colours
    assert_nothing_is_cut(figure)


def test_signed_maps_are_drawn_by_magnitude(toy_maps):
    images, maps = toy_maps("coat_lite")
    figure = plot_attention_maps(maps, images, by_head=True, blocks=["stage2_block0"])
    heat = figure.axes[1].images[1].get_array()
    assert heat.min() >= 0
    np.testing.assert_array_equal(heat, abs(maps["stage2_block0"].of_token()[0, 0]))


def test_rollout_beside_images(toy_maps):
    model, images = model_and_images("vit", count=5)
    rollout = attention_rollout(model, images)
    figure = plot_attention_rollout(images[..., :1], rollout)
    assert titles(figure)[:-1] == ["image", "rollout"] * 5
    np.testing.assert_array_equal(figure.axes[9].images[1].get_array(), rollout[4])
    assert_nothing_is_cut(figure)


@pytest.mark.parametrize(
    "toy, kinds, ticks",
    [
        ("vit", None, ["0", "1"]),
        ("swin", ["stage0", "stage1"], ["stage0_block0", "stage0_block1", "stage1_block0", "stage1_block1"]),
        ("tnt", ["inner", "outer"], ["0", "1"]),
        ("t2t", ["tokens", "blocks"], ["tokens1", "tokens2", "block0", "block1"]),
    ],
)
def test_dots_by_depth(toy, kinds, ticks):
    distances = mean_attention_distance(*model_and_images(toy))
    figure = plot_mean_attention_distance(distances)
    (axis,) = figure.axes
    dots = np.concatenate([dots.get_offsets() for dots in axis.collections])
    assert sorted(dots[:, 1]) == pytest.approx(sorted(np.concatenate(list(distances.values()))))
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ticks
    assert axis.get_xlabel() == "network depth (block)" and axis.get_ylabel() == "mean attention distance (pixels)"
    legend = axis.get_legend()
    assert (legend and [text.get_text() for text in legend.get_texts()]) == kinds
    assert axis.get_ylim()[0] == 0
    figure.draw_without_rendering()
    assert_nothing_is_cut(figure)


def test_scales_of_parallel_blocks_share_a_depth():
    names = ["stage1_block0", "stage2_block0", "parallel0/stage1", "parallel0/stage2"]
    figure = plot_mean_attention_distance({name: np.array([10.0 * i, 20.0]) for i, name in enumerate(names)})
    dots = [sorted(set(collection.get_offsets()[:, 0])) for collection in figure.axes[0].collections]
    assert dots == [[0, 2], [1, 2]]  # stage1, stage2


def test_arguments_that_do_not_fit_are_refused(toy_maps):
    images, maps = toy_maps("vit")
    with pytest.raises(ValueError, match=r"blocks: expected some of \['block0', 'block1'\]. Received: \['block7'\]"):
        plot_attention_maps(maps, images, blocks=["block0", "block7"])
    with pytest.raises(ValueError, match="index: expected one of 2 images. Received: index=2"):
        plot_attention_maps(maps, images, index=2)
    with pytest.raises(ValueError, match="one rollout for each image. Received: 2 images and 1 rollouts"):
        plot_attention_rollout(images, np.ones((1, 5, 6)))
