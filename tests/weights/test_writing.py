"""Rules read backwards give the files that the same rules read."""

import numpy as np
import pytest
from safetensors import safe_open

from keras_vit.weights import readers, rules, writing
from keras_vit.weights.rules import Layout, param

RNG = np.random.default_rng(0)


def array(*shape):
    return RNG.standard_normal(shape).astype("float32")


def test_entries_are_read_back_as_they_were_written():
    layout = Layout(
        "timm",
        (
            *rules.conv("stem", "stem"),
            *rules.norm("layers.{s+1}.norm", "stage{s}/norm"),
            *rules.fused_dense(("layers.{s+1}.q", "layers.{s+1}.k"), "stage{s}/qk"),
            *rules.dense("head.fc", "head", ndim=4),
        ),
    )
    arrays = {"stem/kernel": array(3, 3, 2, 5), "stem/bias": array(5), "head/kernel": array(6, 4)}
    for s in range(2):
        arrays |= {f"stage{s}/norm/gamma": array(6), f"stage{s}/qk/kernel": array(5, 6), f"stage{s}/qk/bias": array(6)}
    written = writing.entries(layout, arrays)
    assert written["head.fc.weight"].shape == (4, 6, 1, 1) and written["layers.2.k.weight"].shape == (3, 5)
    found = rules.match(layout, written)
    assert set(found.assignments) == set(arrays) and not found.unexpected
    for path, assignment in found.assignments.items():
        again = assignment.rule.transform(*(written[name] for name in assignment.names))
        np.testing.assert_array_equal(again, arrays[path])


def test_a_layer_that_a_file_has_several_times_is_written_under_every_name():
    aliases = ("stage{s+1}.{b}.own.conv", "shared.{s+1}.conv")
    layout = Layout("timm", (*rules.dense("conv{s+1}", "conv{s}", aliases), *param("stage{s+1}.{b}.x", "b{s}_{b}")))
    arrays = {"conv0/kernel": array(2, 3), "b0_0": array(1), "b0_3": array(1), "b1_7": array(1)}
    written = writing.entries(layout, arrays)
    names = {"conv1.weight", "stage1.0.own.conv.weight", "stage1.3.own.conv.weight", "shared.1.conv.weight"}
    assert set(written) == names | {"stage1.0.x", "stage1.3.x", "stage2.7.x"}
    assert all(written[name] is written["conv1.weight"] for name in names)


def test_one_entry_of_two_variables_is_written_once():
    token = rules.Transform(lambda token, table: token + table[:1], lambda token: (token, None))
    table = rules.Transform(lambda table: table[1:], lambda table: np.concatenate([0 * table[:1], table]))
    layout = Layout("transformers", (*rules.fuse(("token", "table"), "token", token), *param("table", "table", table)))
    arrays = {"token": array(1, 2), "table": array(3, 2)}
    written = writing.entries(layout, arrays)
    assert {name: entry.shape for name, entry in written.items()} == {"token": (1, 2), "table": (4, 2)}
    np.testing.assert_array_equal(written["token"] + written["table"][:1], arrays["token"])


def test_what_a_library_wants_beside_is_supplied():
    layout = Layout("timm", (*param("b.{i}.x", "b{i}"), *rules.supply("b.{i}.mask", "b{i}", np.zeros_like)))
    written = writing.entries(layout, {"b0": array(2), "b4": array(3)})
    np.testing.assert_array_equal(written["b.4.mask"], np.zeros(3))
    assert set(written) == {"b.0.x", "b.0.mask", "b.4.x", "b.4.mask"}


def test_the_first_layout_of_a_library_that_has_all_variables_and_suits():
    wide = Layout("timm (wide)", param("wide", "x"), suits=lambda shapes: shapes["x"][0] > 4)
    narrow, other = Layout("timm", param("x", "x")), Layout("transformers", param("x", "x") + param("y", "y"))
    layouts = (Layout("official", param("x", "x")), wide, narrow, other)
    assert writing.suiting(layouts, "timm", {"x": (5,)}) is wide
    assert writing.suiting(layouts, "timm", {"x": (3,)}) is narrow
    assert writing.suiting(layouts, "timm", {"x": (3,), "y": ()}) is None
    assert writing.suiting(layouts, "transformers", {"x": (3,), "y": ()}) is other


@pytest.mark.parametrize("kind", ["float32", "float16", "float64", "int64"])
def test_files_are_what_other_libraries_take(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    numbers = np.arange(6, dtype=kind).reshape(2, 3).T
    writing.write_safetensors(path, {"x": numbers, "scalar": np.array(2, kind)})
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
        assert file.get_tensor("x").dtype == ("float32" if kind == "float16" else kind)
    found = readers.read(path)
    np.testing.assert_array_equal(found["x"], numbers)
    assert found["scalar"].shape == ()
