"""PVT: stages, their positions at other sizes, the class token of the last one, and the official names."""

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.models import pvt
from keras_vit.models.family import Variant
from keras_vit.system.keras_private import all_layers
from tests.golden.seeded import seeded, seeded_image

DIMS, DEPTHS, RATIOS, REDUCTIONS = (12, 18, 24), (1, 2, 1), (2, 3, 2), (4, 2, 1)
TOY = Variant("ToyPVT", pvt.PVT, pvt.Config(DEPTHS, DIMS, (1, 3, 3), RATIOS, REDUCTIONS))
LOGITS = {"classes": 5, "classifier_activation": None}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def norm_shapes(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear_shapes(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def block_shapes(block, C, ratio, reduction):
    shapes = norm_shapes(f"{block}.norm1", C) | norm_shapes(f"{block}.norm2", C)
    shapes |= linear_shapes(f"{block}.attn.q", C, C) | linear_shapes(f"{block}.attn.kv", 2 * C, C)
    shapes |= linear_shapes(f"{block}.attn.proj", C, C)
    shapes |= linear_shapes(f"{block}.mlp.fc1", ratio * C, C) | linear_shapes(f"{block}.mlp.fc2", C, ratio * C)
    if reduction > 1:
        shapes |= {f"{block}.attn.sr.weight": (C, C, reduction, reduction), f"{block}.attn.sr.bias": (C,)}
        shapes |= norm_shapes(f"{block}.attn.norm", C)
    return shapes


def official_entries(side=32):
    """The names and shapes of an official file trained at `side` pixels, with synthetic values."""
    shapes = {"cls_token": (1, 1, DIMS[-1])}
    for s, (C, depth) in enumerate(zip(DIMS, DEPTHS)):
        kernel = (4, 4) if s == 0 else (2, 2)
        shapes |= {f"pos_embed{s + 1}": (1, (side // 4 // 2**s) ** 2 + (s == 2), C)}
        shapes |= {f"patch_embed{s + 1}.proj.weight": (C, DIMS[s - 1] if s else 3, *kernel)}
        shapes |= {f"patch_embed{s + 1}.proj.bias": (C,)} | norm_shapes(f"patch_embed{s + 1}.norm", C)
        for b in range(depth):
            shapes |= block_shapes(f"block{s + 1}.{b}", C, RATIOS[s], REDUCTIONS[s])
    shapes |= norm_shapes("norm", DIMS[-1]) | linear_shapes("head", 5, DIMS[-1])
    return {key: seeded(key, shape).astype("float32") for key, shape in shapes.items()}


def load(entries, path, size):
    save_file(entries, path)
    return TOY(weights=path, input_shape=(*size, 3), **LOGITS)


def test_official_files_load_and_every_position_counts(tmp_path):
    entries = official_entries()
    before = numpy(load(entries, tmp_path / "a.safetensors", (32, 32))(seeded_image(0, 32, 32)))
    assert np.isfinite(before).all() and before.std() > 0.1
    for stage in (1, 2, 3):
        changed = entries | {f"pos_embed{stage}": entries[f"pos_embed{stage}"][:, ::-1].copy()}
        after = numpy(load(changed, tmp_path / "b.safetensors", (32, 32))(seeded_image(0, 32, 32)))
        assert np.abs(after - before).max() > 1e-3


def test_positions_move_linearly_without_antialiasing(tmp_path):
    entries = official_entries(side=16)  # 4 x 4, 2 x 2 and 1 + 1 positions
    model = load(entries, tmp_path / "a.safetensors", (32, 48))
    tables = [numpy(model.get_layer(f"stage{s}_positions").table) for s in range(3)]
    assert [t.shape for t in tables] == [(1, 8, 12, 12), (1, 4, 6, 18), (1, 1 + 2 * 3, 24)]
    old = entries["pos_embed2"].reshape(2, 2, 18)
    rows = np.stack([old[0], 0.75 * old[0] + 0.25 * old[1], 0.25 * old[0] + 0.75 * old[1], old[1]])  # 2 -> 4
    weights = np.clip((np.arange(6) + 0.5) / 3 - 0.5, 0, 1)  # of the right column, 2 -> 6
    expected = rows[:, :1] * (1 - weights)[:, None] + rows[:, 1:] * weights[:, None]
    np.testing.assert_allclose(tables[1][0], expected, atol=1e-6)
    np.testing.assert_array_equal(tables[2][0, 0], entries["pos_embed3"][0, 0])
    np.testing.assert_allclose(tables[2][0, 1:], np.tile(entries["pos_embed3"][0, 1], (6, 1)), atol=1e-6)


def test_shrinking_takes_samples_not_averages():
    table = np.arange(64.0).reshape(1, 8, 8, 1)
    moved = pvt.POSITIONS(table, (1, 2, 2, 1), (0, 0))
    np.testing.assert_allclose(moved[0, :, :, 0], [[13.5, 17.5], [45.5, 49.5]])  # means of the middle four pixels


def test_epsilons():
    model = TOY(weights=None, input_shape=(32, 48, 3))
    norms = {n.path: n.epsilon for n in all_layers(model) if isinstance(n, keras.layers.LayerNormalization)}
    after_patches = {path for path in norms if path.endswith(("_patch_norm", "attn/norm"))}
    assert len(after_patches) == 3 + 3 and len(norms) == 6 + 2 * 4 + 1
    assert {path for path, epsilon in norms.items() if epsilon == 1e-5} == after_patches
    assert {norms[path] for path in set(norms) - after_patches} == {1e-6}


@pytest.mark.parametrize("shape, reduction", [((8, 4, 6, 12), 2), ((8, 7, 12), 1)])
def test_branches_are_dropped_for_whole_samples(shape, reduction):
    block, x = pvt.PVTBlock(3, 2.0, reduction, drop_path_rate=0.5), np.ones(shape, "float32")
    x += np.random.default_rng(0).standard_normal(shape).astype("float32")
    block(x)
    block.mlp.fc2.kernel.assign(0 * block.mlp.fc2.kernel)
    kept = 2 * (numpy(block(x)) - x)
    for _ in range(5):
        moved = numpy(block(x, training=True)) - x
        dropped = np.array([not sample.any() for sample in moved])
        np.testing.assert_allclose(moved[~dropped], kept[~dropped], atol=1e-5)
        if 0 < dropped.sum() < len(x):
            return
    raise AssertionError("five draws of eight samples were all alike")


def test_only_the_last_stage_has_a_class_token():
    model = TOY(weights=None, input_shape=(32, 48, 3))
    outputs = [model.get_layer(name).output.shape for name in ("stage0_block0", "stage1_block1", "stage2_block0")]
    assert outputs == [(None, 8, 12, 12), (None, 4, 6, 18), (None, 1 + 2 * 3, 24)]


def test_features_and_pyramid():
    shape = {"weights": None, "input_shape": (64, 96, 3), "include_top": False}
    assert TOY(**shape).output.shape == (None, 4, 6, 24)
    assert TOY(**shape, pooling="token").output.shape == (None, 24)
    levels = feature_pyramid(TOY(**shape)).pyramid_outputs
    assert {name: x.shape[1:] for name, x in levels.items()} == {
        "P2": (16, 24, 12), "P3": (8, 12, 18), "P4": (4, 6, 24)
    }  # fmt: skip


def test_sizes_that_do_not_divide_are_refused():
    for variant, size in ((pvt.PVTTiny, (224, 240)), (TOY, (32, 40))):
        with pytest.raises(ValueError, match="PVT needs a height and width that are multiples of"):
            variant(weights=None, input_shape=(*size, 3))
