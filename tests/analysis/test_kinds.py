"""Which blocks an inspection draws, and that every kind has its own file and text."""

import pytest

from keras_vit.analysis import kinds
from keras_vit.models.blocks import block_of


@pytest.mark.parametrize(
    "names, expected",
    [
        ([f"block{i}" for i in range(12)], ["block0", "block6", "block11"]),
        (["block0"], ["block0"]),
        (["stage0_block0", "stage0_block1", "stage1_block0"], ["stage0_block1", "stage1_block0"]),
        (["stage0_block0", "stage1_block0", "parallel0", "parallel1"], ["stage0_block0", "stage1_block0", "parallel1"]),
    ],
)
def test_receptive_fields_are_shown_by_depth(names, expected):
    assert kinds.by_depth([block_of(name) for name in names]) == expected


def test_of_many_names_the_first_and_the_last_are_kept():
    names = list("abcdefghij")
    assert kinds.spread(names, 4) == ["a", "d", "g", "j"]
    assert kinds.spread(names[:3], 4) == ["a", "b", "c"]
    assert kinds.spread(names[:1], 4) == ["a"]


def test_every_kind_has_a_text_and_a_file_of_its_own():
    every = (*kinds.OF_IMAGES, *kinds.OF_MODELS)
    assert len({kind.file for kind in every}) == len({kind.title for kind in every}) == len(every)
    assert all(kind.text.endswith(".") and callable(kind.draw) for kind in every)
