"""Multiply-adds against algebra, and against what the papers and timm state.

multiply_adds.csv lists, for every variant and size with a published figure: ours, the paper's and timm's in units of
1e9, and by how many percent ours differs. Papers round and each counts a little differently: what differs by more than
PAPER has its reason in `note`.
"""

import csv
import functools
import pathlib

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.analysis import count
from keras_vit.layers import memory
from keras_vit.models import VARIANTS, swin, vit
from tests.models.cases import one_per_paper, params
from tests.models.toys import TOYS

TABLE = pathlib.Path(__file__).with_name("multiply_adds.csv")
TIMM, PAPER = 2, 5  # percent; timm's figures come from a profiler, papers round to one decimal
SMALL = (
    "ViTTi16",
    "ViTRTi16",
    "DeiTTi",
    "DeiTTiDistilled",
    "SwinT",
    "ConvNeXtAtto",
    "CoaTLiteTiny",
    "T2TViT7",
    "PVTV2B0",
)


@functools.cache
def rows():
    with open(TABLE, newline="") as file:
        return tuple(csv.DictReader(file))


def build(constructor, size, classes=1000):
    """Without values: shapes are all that counting needs."""
    top = {} if classes else {"include_top": False, "pooling": "token"}
    with keras.StatelessScope(initialize_variables=False):
        return VARIANTS[constructor](weights=None, input_shape=(size, size, 3), **top)


def check(row):
    with keras.StatelessScope(initialize_variables=False):
        counts = count(build(row["constructor"], int(row["size"]), int(row["classes"])))
    assert counts.multiply_adds == int(row["ours"])
    if int(row["classes"]) and row["constructor"] not in ("SwinB384", "SwinL384") and row["size"] == "224":
        assert counts.parameters == VARIANTS[row["constructor"]].parameters


@pytest.mark.parametrize("constructor", SMALL)
def test_small_models_count_as_listed(constructor):
    check(next(row for row in rows() if row["constructor"] == constructor and row["size"] == "224"))


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['constructor']}-{row['size']}")
def test_all_count_as_listed(row):
    check(row)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['constructor']}-{row['size']}")
def test_listed_counts_are_those_of_papers_and_timm(row):
    ours = int(row["ours"]) / 1e9
    for source, tolerance in (("paper", PAPER), ("timm", TIMM)):
        if row[source]:
            difference = 100 * (ours / float(row[source]) - 1)
            rounding = 50 * 10 ** -len(row[source].partition(".")[2]) / float(row[source])
            assert f"{difference:+.1f}" == row[f"{source}_difference"]
            assert abs(difference) <= tolerance + rounding or row["note"]


def test_vit_by_algebra():
    N, D, P = 4 * 6 + 1, 24, 8
    toy = type(vit.ViTB16)("Toy", vit.VIT, vit.Config(D, 2, 3, P))
    counts = count(toy(weights=None, input_shape=(4 * P, 6 * P, 3), classes=5))
    block = N * D * 3 * D + 2 * N * N * D + N * D * D + 2 * N * D * 4 * D
    expected = {"patch_embed": 4 * 6 * P * P * 3 * D, "blocks (2)": 2 * block, "head": D * 5}
    assert {part.name: part.multiply_adds for part in counts.parts if part.multiply_adds} == expected


def test_swin_stages_by_algebra():
    """Eq. 2: a block of window attention takes 4 HW C^2 + 2 M^2 HW C, and its MLP 8 HW C^2."""
    M, C = 3, 12
    toy = type(swin.SwinT)("Toy", swin.SWIN, swin.Config(C, (2, 2), (3, 6), M, 4))
    counts = count(toy(weights=None, input_shape=(48, 72, 3), classes=5))  # 12 x 18 and 6 x 9, whole windows
    stages = {part.name: part.multiply_adds for part in counts.parts}
    assert stages["stage0"] == 2 * (12 * 12 * 18 * C**2 + 2 * M**2 * 12 * 18 * C)
    assert stages["stage1"] == 2 * (12 * 6 * 9 * (2 * C) ** 2 + 2 * M**2 * 6 * 9 * 2 * C)
    assert stages["merge1"] == 6 * 9 * 4 * C * 2 * C


def test_queries_in_chunks_count_fully(monkeypatch):
    variant, shape = TOYS["vit"]
    whole = count(variant(weights=None, input_shape=shape))
    monkeypatch.setattr(memory, "LARGEST_SCORES", 4 * memory.ASSUMED_BATCH * 300)
    assert memory.count_chunks(3, 31, 31) > 3
    chunked = count(variant(weights=None, input_shape=shape))
    assert chunked.multiply_adds == whole.multiply_adds


@pytest.mark.parametrize("toy", params(one_per_paper(), TOYS))
def test_parts_add_up(toy):
    variant, shape = TOYS[toy]
    model = variant(weights=None, input_shape=shape)
    counts = count(model)
    assert counts.parameters == model.count_params()
    assert not any(part.name == "(between the layers)" for part in counts.parts)
    lines = str(counts).splitlines()
    assert len(lines) == len(counts.parts) + 3
    assert f"{counts.multiply_adds:,}" in lines[-1] and "total" in lines[-1]


@pytest.mark.parametrize(
    "layer, expected",
    [
        (keras.layers.Conv2D(6, 3, strides=2), 3 * 4 * 6 * 9 * 4),
        (keras.layers.Conv2D(6, 3, groups=2), 6 * 8 * 6 * 9 * 2),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), 6 * 8 * 8 * 9),
        (keras.layers.Conv2DTranspose(5, 2, strides=2), 8 * 10 * 4 * 4 * 5),
        (keras.layers.EinsumDense("bhwc,cd->bhwd", (8, 10, 7)), 8 * 10 * 4 * 7),
        (keras.layers.Activation("gelu"), 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_layers_of_other_kinds(layer, expected):
    image = keras.Input((8, 10, 4))
    assert count(keras.Model(image, layer(image))).multiply_adds == expected


def test_a_layer_called_twice_counts_its_products_twice_and_its_weights_once():
    image, shared = keras.Input((6,)), keras.layers.Dense(6, name="shared")
    counts = count(keras.Model(image, shared(shared(image))))
    assert (counts.parameters, counts.multiply_adds) == (42, 72)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one input of known height and width"):
        count(keras.Sequential([keras.layers.Dense(3)]))
    image = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="one input of known height and width"):
        count(keras.Model(image, keras.layers.Conv2D(2, 1)(image)))
    with pytest.raises(ValueError, match="Received: 'SwinT'"):
        count("SwinT")


def test_counting_leaves_the_model_as_it_was():
    variant, shape = TOYS["swin"]
    model = variant(weights=None, input_shape=shape)
    image = np.ones((1, *shape), "float32")
    before = keras.ops.convert_to_numpy(model(image))
    count(model)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(image)), before)
    assert keras_vit.analysis.count is count
