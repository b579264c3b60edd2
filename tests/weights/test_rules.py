"""Matching of rules, on names alone."""

import numpy as np
import pytest

from keras_vit.weights import rules
from keras_vit.weights.rules import Layout, best_match, match, param

BLOCKS = Layout("blocks", (*rules.norm("layers.{s}.blocks.{b}.norm1", "stage{s}_block{b}/norm1"),))


def test_placeholders_are_integers_and_the_whole_name_matters():
    names = ["layers.1.blocks.10.norm1.weight", "layers.x.blocks.0.norm1.weight", "layers.0.blocks.0.norm1.weight.more"]
    found = match(BLOCKS, names)
    assert {target: a.names for target, a in found.assignments.items()} == {
        "stage1_block10/norm1/gamma": ("layers.1.blocks.10.norm1.weight",)
    }
    assert found.unexpected == tuple(names[1:])


def test_a_dot_in_a_pattern_matches_a_dot_only():
    assert match(Layout("l", param("a.b", "x")), ["aXb"]).unexpected == ("aXb",)


@pytest.mark.parametrize("pattern, target", [("d.{s+1}", "merge{s}"), ("d.{s}", "merge{s-1}")])
def test_offsets_on_either_side(pattern, target):
    found = match(Layout("l", param(pattern, target)), ["d.3"])
    assert list(found.assignments) == ["merge2"]


def test_no_negative_integers():
    assert match(Layout("l", param("d.{s+1}", "merge{s}")), ["d.0"]).unexpected == ("d.0",)


def test_first_rule_wins():
    layout = Layout("l", param("stem.0", "stem") + param("stem.{i}", "other{i}"))
    assert set(match(layout, ["stem.0", "stem.1"]).assignments) == {"stem", "other1"}


def test_ignored_entries_are_used():
    layout = Layout("l", rules.ignore("*.attn_mask") + param("a", "x"))
    found = match(layout, ["a", "blocks.1.attn_mask", "attn_mask"])
    assert list(found.assignments) == ["x"] and found.unexpected == ("attn_mask",)


def test_fused_entries_are_taken_together_or_not_at_all():
    layout = Layout("l", rules.fuse(("b{i}/q", "b{i}/k"), "block{i}/qk", np.add))
    found = match(layout, ["b0/q", "b0/k", "b1/q"])
    assert found.assignments["block0/qk"].names == ("b0/q", "b0/k")
    assert found.unexpected == ("b1/q",)


def test_aliases_replace_a_source_and_duplicates_are_recorded():
    layout = Layout("l", param("shared", "x", aliases=["blocks.{i}.shared"]))
    assert match(layout, ["blocks.7.shared"]).assignments["x"].names == ("blocks.7.shared",)
    both = match(layout, ["shared", "blocks.7.shared"])
    assert both.assignments["x"].duplicates == ("blocks.7.shared",) and not both.unexpected


def test_the_best_layout_leaves_least_over():
    timm = Layout("timm", param("down.{s}", "merge{s}") + param("fc", "head"))
    official = Layout("official", param("down.{s}", "merge{s+1}") + param("fc", "head"))
    assert best_match((timm, official), ["down.0", "fc"], {"merge1", "head"}).layout.name == "official"
    assert best_match((timm, official), ["down.1", "fc"], {"merge1", "head"}).layout.name == "timm"


def test_transforms_convert_torch_kernels_to_keras_layout():
    dense, conv, depthwise = (f("a", "b")[0].transform for f in (rules.dense, rules.conv, rules.depthwise))
    w = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    assert conv(w)[4, 6, 2, 1] == w[1, 2, 4, 6]
    assert depthwise(w[:, :1])[4, 6, 1, 0] == w[1, 0, 4, 6]
    np.testing.assert_array_equal(dense(w[:, :, 0, 0]), w[:, :, 0, 0].T)
    np.testing.assert_array_equal(dense(w[:, :, :1, :1]), w[:, :, 0, 0].T)


def test_flax_heads_are_merged_in_order():
    q, k, v = np.random.default_rng(0).standard_normal((3, 6, 2, 3))
    fused = rules.merge_qkv_kernels(q, k, v)
    x = np.random.default_rng(1).standard_normal(6)
    np.testing.assert_allclose((x @ fused)[6:12].reshape(2, 3), np.einsum("d,dhe->he", x, k))
    assert rules.merge_qkv_biases(q[0], k[0], v[0]).shape == (18,)


def test_what_a_library_reads_is_written_by_the_same_rules():
    w = np.random.default_rng(0).standard_normal((6, 1, 3, 5)).astype("float32")
    for rule in (rules.dense("a", "b")[0], rules.fused_dense(("q", "k", "v"), "b")[0]):
        arrays = [w[:, 0, 0] + i for i in range(len(rule.sources))]
        back = rule.transform.backward(rule.transform(*arrays))
        np.testing.assert_array_equal(back if len(arrays) > 1 else [back], arrays)
    for helper in (rules.conv, rules.depthwise):
        transform = helper("a", "b")[0].transform
        np.testing.assert_array_equal(transform.backward(transform(w)), w)


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_a_dense_layer_is_stored_as_the_convolution_that_the_file_has(ndim):
    w = np.random.default_rng(0).standard_normal((2, 3, 1, 1)[:ndim])
    transform = rules.dense("a", "b", ndim=ndim)[0].transform
    np.testing.assert_array_equal(transform.backward(transform(w)), w)


def test_query_key_and_value_stand_side_by_side():
    kernel, bias = rules.fused_dense([f"layer.{{i}}.{part}" for part in "qkv"], "block{i}/qkv")
    assert kernel.sources == ("layer.{i}.q.weight", "layer.{i}.k.weight", "layer.{i}.v.weight")
    q, k, v = np.random.default_rng(0).standard_normal((3, 2, 5))
    np.testing.assert_array_equal(kernel.transform(q, k, v)[:, 2:4], k.T)
    np.testing.assert_array_equal(bias.transform(q[0], k[0], v[0]), np.r_[q[0], k[0], v[0]])


@pytest.mark.parametrize(
    "wrong, why",
    [
        (param("a", "x", np.ravel), "has no backward"),
        (rules.fuse(("a", "b"), "x", np.add), "has no backward"),
        (param("a", "x") + param("b", "x"), "several names"),
        (param("a.{i}", "x"), "what \\['i'\\] are"),
        (rules.supply("a.{i}", "x", np.zeros_like), "what \\['i'\\] are"),
    ],
)
def test_a_library_s_layout_that_cannot_be_read_backwards_is_an_error(wrong, why):
    Layout("official", wrong)
    for name in ("timm", "transformers (SwiGLU)"):
        with pytest.raises(ValueError, match=why):
            Layout(name, wrong)


def test_supplied_entries_are_ignored_when_read():
    layout = Layout("timm", rules.supply("index", "x", np.zeros_like) + param("a", "x"))
    assert list(match(layout, ["a", "index"]).assignments) == ["x"] and not match(layout, ["a", "index"]).unexpected
