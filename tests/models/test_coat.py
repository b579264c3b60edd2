"""What is CoaT's own: factorised attention, shared convolutional positions, exchange between scales, its file names."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import save_file

import keras_vit
from keras_vit.layers.conv_attention import factorised_attention
from keras_vit.layers.scales import interpolate
from keras_vit.models import coat
from keras_vit.system.keras_private import all_layers
from tests.models.toys import TOYS

KINDS = pytest.mark.parametrize("kind", ["coat", "coat_lite"])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def array(x):
    return ops.convert_to_numpy(x)


def toy(kind, **changes):
    """A toy with weights that are all off their initial values."""
    variant, shape = TOYS[kind]
    arguments = {"weights": None, "input_shape": shape, "classes": 5, "classifier_activation": None}
    model = variant(**{**arguments, **changes})
    if "weights" not in changes:
        for seed, variable in enumerate(model.weights):
            if variable.dtype == "float32":
                variable.assign(array(variable) + 0.1 * normal(*variable.shape, seed=seed))
    return model


def random_image(kind, count=2):
    return normal(count, *TOYS[kind][1], seed=9)


def test_parallel_block_against_its_equations():
    grids, C, h = ((4, 8), (2, 4), (1, 2)), 6, 2
    sizes = [1 + H * W for H, W in grids]
    xs, es = ([normal(2, N, C, seed=N + i) for N in sizes] for i in (0, 1))
    qkvs = [normal(2, N, 3 * C, seed=N) for N in sizes]
    block = coat.ParallelBlock(grids, h, mlp_ratio=2)
    outputs = block(xs, qkvs, es)
    assert len({id(variable) for variable in block.weights}) == 3 * 2 + 3 * 2 + 4
    seen = [proj(factorised_attention(qkv, h) + e) for proj, qkv, e in zip(block.projs, qkvs, es)]
    for i, (x, norm, found) in enumerate(zip(xs, block.norms, outputs)):
        x = x + sum(array(interpolate(c, grid, i - j)) for j, (c, grid) in enumerate(zip(seen, grids)))
        np.testing.assert_allclose(array(found), x + array(block.mlp(norm(x))), atol=1e-5)
    class_tokens = sum(array(c)[:, 0] for c in seen)
    x = xs[1][:, 0] + class_tokens
    np.testing.assert_allclose(array(outputs[1])[:, 0], x + array(block.mlp(block.norms[1](x))), atol=1e-5)


# The model -------------------------------------------------------------------------------------------------------


@KINDS
def test_epsilons_and_gelu_are_those_of_the_published_code(kind):
    flat = all_layers(toy(kind))
    epsilons = {"patch": set(), "other": set()}
    for layer in flat:
        if isinstance(layer, keras.layers.LayerNormalization):
            epsilons["patch" if "patch_norm" in layer.name else "other"].add(layer.epsilon)
    assert epsilons == {"patch": {1e-5}, "other": {1e-6}}
    block = toy(kind).get_layer("stage0_block0")
    x = normal(1, 3, block.mlp.fc1.kernel.shape[0])
    hidden = array(block.mlp.fc1(x))
    exact = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    np.testing.assert_allclose(array(block.mlp(x)), array(block.mlp.fc2(exact)), atol=1e-6)


@KINDS
def test_encodings_exist_once_and_are_shared_by_all_blocks_of_a_scale(kind, tmp_path):
    model = toy(kind)
    model.save(tmp_path / "model.keras")
    config, changed = TOYS[kind][0].config, []
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        paths = [variable.path for variable in each.weights]
        calls = {layer["name"]: len(layer["inbound_nodes"]) for layer in each.get_config()["layers"]}
        assert len(set(paths)) == len(paths)
        for s, depth in enumerate(config.depths):
            assert [p for p in paths if "cpe" in p and "proj" in p].count(f"cpe{s}/proj/kernel") == 1
            users = depth + (config.parallel_depth if s else 0)
            assert calls[f"cpe{s}"] == calls[f"crpe{s}"] == users
        each.get_layer("crpe1").convs[2].bias.assign(normal(*each.get_layer("crpe1").convs[2].bias.shape))
        changed.append(array(each(random_image(kind))))
    np.testing.assert_array_equal(*changed)
    assert not np.allclose(changed[0], array(toy(kind)(random_image(kind))))


@KINDS
def test_every_block_has_the_same_drop_path_rate(kind):
    flat = all_layers(toy(kind, drop_path_rate=0.3))
    rates = [layer.rate for layer in flat if isinstance(layer, keras.layers.Dropout)]
    config = TOYS[kind][0].config
    assert rates == [0.3] * (sum(config.depths) + config.parallel_depth)


def test_drop_path_skips_both_branches_of_whole_samples():
    block = coat.SerialBlock(2, drop_path_rate=0.5)
    x, qkv, e = normal(64, 5, 6), normal(64, 5, 18), normal(64, 5, 6)
    found = array(block(x, qkv, e, training=True))
    kept = (found != x).any(axis=(1, 2))
    assert 0.5 < kept.mean() < 0.95  # three in four keep at least one branch
    np.testing.assert_array_equal(array(block(x, qkv, e, training=False)), array(block(x, qkv, e)))


def test_class_tokens_are_aggregated_by_a_learned_sum():
    model = toy("coat")
    names = [f"take_token{s}" for s in (1, 2, 3)]
    inner = keras.Model(model.input, [*(model.get_layer(name).output for name in names), model.get_layer("head").input])
    *tokens, aggregated = (array(x) for x in inner(random_image("coat")))
    weights, bias = (array(v) for v in model.get_layer("aggregate").weights)
    np.testing.assert_allclose(aggregated, np.tensordot(weights, tokens, 1) + bias, atol=1e-5)


@pytest.mark.parametrize("pooling", ["avg", pytest.param("max", marks=pytest.mark.slow), "token"])
@KINDS
def test_pooling_without_the_classifier(kind, pooling):
    full, image = toy(kind), random_image(kind)
    features, maps = (toy(kind, include_top=False, pooling=p) for p in (pooling, None))
    for model in (features, maps):
        assert {v.path for v in model.weights} == {v.path for v in full.weights if "head" not in v.path}
        for variable in model.weights:
            variable.assign(next(v for v in full.weights if v.path == variable.path))
    found, map_ = array(features(image)), array(maps(image))
    assert map_.shape[1:] == (2, 3, TOYS[kind][0].config.dims[-1])
    if pooling == "token":
        kernel, bias = full.get_layer("head").get_weights()
        np.testing.assert_allclose(found @ kernel + bias, array(full(image)), atol=1e-4)
    else:
        expected = map_.mean((1, 2)) if pooling == "avg" else map_.max((1, 2))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_average_pooling_aggregates_the_means_of_the_scales():
    model, image = toy("coat", include_top=False, pooling="avg"), random_image("coat")
    norms = keras.Model(model.input, [model.get_layer(f"norm{s}").output for s in (1, 2, 3)])
    means = [array(x)[:, 1:].mean(axis=1) for x in norms(image)]
    np.testing.assert_allclose(array(model(image)), array(model.get_layer("aggregate")(means)), atol=1e-5)


def test_pyramid_ends_where_each_scale_ends():
    model, image = toy("coat"), random_image("coat")
    maps = keras_vit.feature_pyramid(model)(image)
    shapes = {level: tuple(x.shape[1:]) for level, x in maps.items()}
    assert shapes == {"P2": (16, 24, 10), "P3": (8, 12, 15), "P4": (4, 6, 15), "P5": (2, 3, 15)}
    ends = [model.get_layer("stage0_block0").output, *model.get_layer("parallel1").output]
    for tokens, found in zip(keras.Model(model.input, ends)(image), maps.values()):
        np.testing.assert_allclose(array(tokens)[:, 1:].reshape(found.shape), array(found), atol=1e-6)


def test_sizes_that_are_no_multiple_of_32_are_refused():
    with pytest.raises(ValueError, match="multiples of 32.*64 x 72"):
        toy("coat", input_shape=(64, 72, 3))


# Files -----------------------------------------------------------------------------------------------------------


class StateDict(dict):
    """A state dict in the published layout, filled layer by layer from a model's weights."""

    def __init__(self, model):
        super().__init__()
        self.values_of = {variable.path: array(variable) for variable in model.weights}

    def layer(self, source, target):
        kernel = self.values_of[f"{target}/kernel"]
        depthwise = target.startswith(("cpe", "crpe"))
        order = {2: (1, 0), 4: (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)}[kernel.ndim]
        self[f"{source}.weight"], self[f"{source}.bias"] = kernel.transpose(order), self.values_of[f"{target}/bias"]

    def norm(self, source, target):
        self[f"{source}.weight"] = self.values_of[f"{target}/gamma"]
        self[f"{source}.bias"] = self.values_of[f"{target}/beta"]

    def crpe(self, source, s):
        for i in range(3):
            self.layer(f"{source}.conv_list.{i}", f"crpe{s}/conv{i}")

    def stage(self, s, depth, aliases):
        self[f"cls_token{s + 1}"] = self.values_of[f"stage{s}_class_token/token"]
        self.layer(f"patch_embed{s + 1}.proj", f"stage{s}_patch_embed")
        self.norm(f"patch_embed{s + 1}.norm", f"stage{s}_patch_norm")
        self.layer(f"cpe{s + 1}.proj", f"cpe{s}/proj")
        self.crpe(f"crpe{s + 1}", s)
        for b in range(depth):
            block, ours = f"serial_blocks{s + 1}.{b}", f"stage{s}_block{b}"
            if aliases:
                self.layer(f"{block}.cpe.proj", f"cpe{s}/proj")
                self.crpe(f"{block}.factoratt_crpe.crpe", s)
            self.norm(f"{block}.norm1", f"{ours}_qkv/norm1")
            self.layer(f"{block}.factoratt_crpe.qkv", f"{ours}_qkv/qkv")
            self.layer(f"{block}.factoratt_crpe.proj", f"{ours}/proj")
            self.norm(f"{block}.norm2", f"{ours}/norm2")
            self.layer(f"{block}.mlp.fc1", f"{ours}/mlp/fc1")
            self.layer(f"{block}.mlp.fc2", f"{ours}/mlp/fc2")

    def parallel(self, b, aliases):
        block = f"parallel_blocks.{b}"
        for s in (1, 2, 3):
            self.norm(f"{block}.norm1{s + 1}", f"stage{s}_parallel{b}_qkv/norm1")
            self.norm(f"{block}.norm2{s + 1}", f"parallel{b}/norm{s}")
            self.layer(f"{block}.factoratt_crpe{s + 1}.qkv", f"stage{s}_parallel{b}_qkv/qkv")
            self.layer(f"{block}.factoratt_crpe{s + 1}.proj", f"parallel{b}/proj{s}")
            if aliases:
                self.crpe(f"{block}.factoratt_crpe{s + 1}.crpe", s)
            if aliases or s == 1:
                self.layer(f"{block}.mlp{s + 1}.fc1", f"parallel{b}/mlp/fc1")
                self.layer(f"{block}.mlp{s + 1}.fc2", f"parallel{b}/mlp/fc2")


def torch_entries(model, config, aliases=True):
    """The state dict that the published code would write, with or without the repeated names of shared tensors."""
    entries = StateDict(model)
    for s, depth in enumerate(config.depths):
        entries.stage(s, depth, aliases)
    for b in range(config.parallel_depth):
        entries.parallel(b, aliases)
    if config.parallel_depth:
        for s in (1, 2, 3):
            entries.norm(f"norm{s + 1}", f"norm{s}")
        entries["aggregate.weight"] = entries.values_of["aggregate/kernel"].reshape(1, 3, 1)
        entries["aggregate.bias"] = entries.values_of["aggregate/bias"]
    else:
        entries.norm("norm4", "norm")
    entries.layer("head", "head")
    return entries


def saved(entries, folder):
    path = folder / "weights.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in entries.items()}, path)
    return path


def same_weights(one, other):
    pairs = zip(one.weights, other.weights, strict=True)
    return all(a.path == b.path and np.array_equal(array(a), array(b)) for a, b in pairs)


@pytest.mark.parametrize("aliases", [True, False])
@KINDS
def test_files_with_and_without_repeated_names_load(kind, aliases, tmp_path):
    model = toy(kind)
    entries = torch_entries(model, TOYS[kind][0].config, aliases)
    assert same_weights(toy(kind, weights=saved(entries, tmp_path)), model)


def names_of_shared_tensors(entries):
    """Groups of names of one tensor."""
    groups = {}
    for name, value in entries.items():
        if "cpe" in name or "crpe" in name or ".mlp" in name and name.startswith("parallel"):
            groups.setdefault((value.shape, value.tobytes()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


@KINDS
def test_any_one_name_of_a_shared_tensor_is_enough(kind, tmp_path):
    model = toy(kind)
    entries = torch_entries(model, TOYS[kind][0].config)
    groups = names_of_shared_tensors(entries)
    depths, parallel = TOYS[kind][0].config.depths, TOYS[kind][0].config.parallel_depth
    assert len(groups) == 4 * 8 + 4 * parallel
    assert sum(map(len, groups)) == 8 * (4 + sum(depths)) + parallel * (3 * 6 + 3 * 4)
    for turn in range(max(map(len, groups))):  # each name is the only one of its tensor in some turn
        dropped = {name for names in groups for i, name in enumerate(names) if i != turn % len(names)}
        path = saved({name: value for name, value in entries.items() if name not in dropped}, tmp_path)
        assert same_weights(toy(kind, weights=path), model)


@KINDS
def test_names_of_one_tensor_that_disagree_are_an_error(kind, tmp_path):
    entries = torch_entries(toy(kind), TOYS[kind][0].config)
    name = "serial_blocks4.0.factoratt_crpe.crpe.conv_list.1.weight"
    entries[name] = entries[name] + 1e-3
    with pytest.raises(ValueError, match="crpe.conv_list.1.weight: one tensor"):
        toy(kind, weights=saved(entries, tmp_path))


@KINDS
def test_official_files_have_norms_that_no_model_uses(kind, tmp_path):
    model, dims = toy(kind), TOYS[kind][0].config.dims
    entries = torch_entries(model, TOYS[kind][0].config)
    for s in (1,) if kind == "coat" else (1, 2, 3):
        entries[f"norm{s}.weight"], entries[f"norm{s}.bias"] = normal(2, dims[s - 1])
    assert same_weights(toy(kind, weights=saved(entries, tmp_path)), model)
    used = "norm2.weight" if kind == "coat" else "norm4.weight"
    del entries[used]
    with pytest.raises(ValueError, match="missing: norm"):
        toy(kind, weights=saved(entries, tmp_path))
