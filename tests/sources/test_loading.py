"""Loading of files that fit, nearly fit and do not fit, through the public constructors."""

import re
import zipfile

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_vit
from keras_vit.models import swin, vit
from keras_vit.models.family import Variant
from keras_vit.sources import loading
from keras_vit.system.keras_private import all_layers
from keras_vit.weights.entries import Entries, Entry
from tests.golden.seeded import seeded
from tests.models.toys import TOYS

VIT, SHAPE = TOYS["vit"]
SIZE = SHAPE[:2]
GRID = (5, 6)


def timm_vit(classes=1000, grid=GRID, depth=2, D=24, P=8):
    """The entries of a toy ViT as timm writes them."""
    shapes = {"cls_token": (1, 1, D), "pos_embed": (1, 1 + grid[0] * grid[1], D)}
    shapes |= {"patch_embed.proj.weight": (D, 3, P, P), "patch_embed.proj.bias": (D,)}
    for i in range(depth):
        block = f"blocks.{i}"
        shapes |= {f"{block}.attn.qkv.weight": (3 * D, D), f"{block}.attn.qkv.bias": (3 * D,)}
        shapes |= {f"{block}.attn.proj.weight": (D, D), f"{block}.attn.proj.bias": (D,)}
        shapes |= {f"{block}.mlp.fc1.weight": (4 * D, D), f"{block}.mlp.fc1.bias": (4 * D,)}
        shapes |= {f"{block}.mlp.fc2.weight": (D, 4 * D), f"{block}.mlp.fc2.bias": (D,)}
        shapes |= {f"{block}.{n}.{w}": (D,) for n in ("norm1", "norm2") for w in ("weight", "bias")}
    shapes |= {"norm.weight": (D,), "norm.bias": (D,)}
    if classes:
        shapes |= {"head.weight": (classes, D), "head.bias": (classes,)}
    return {key: np.ascontiguousarray(seeded(key, shape), "float32") for key, shape in shapes.items()}


def written(tmp_path, entries, name="weights.safetensors"):
    save_file(entries, tmp_path / name)
    return tmp_path / name


def run(model, seed=0):
    images = np.random.default_rng(seed).standard_normal((2, *model.inputs[0].shape[1:])).astype("float32")
    return keras.ops.convert_to_numpy(model(images))


def test_every_entry_is_assigned(tmp_path):
    entries = timm_vit()
    model = VIT(weights=written(tmp_path, entries), input_shape=SHAPE)
    np.testing.assert_array_equal(model.get_layer("block1").mlp.fc2.kernel, entries["blocks.1.mlp.fc2.weight"].T)
    np.testing.assert_array_equal(model.get_layer("positions").table, entries["pos_embed"])
    assert sum(e.size for e in entries.values()) == model.count_params()


def test_missing_unexpected_and_misshaped_entries_are_named(tmp_path):
    entries = timm_vit()
    entries["blocks.2.norm1.weight"] = entries.pop("blocks.1.norm1.weight")
    entries["surplus"] = np.zeros(3, "float32")
    with pytest.raises(ValueError) as error:
        VIT(weights=written(tmp_path, entries), input_shape=SHAPE)
    for name in ("missing: block1/norm1/gamma", "unexpected: surplus", "unexpected: blocks.2.norm1.weight"):
        assert name in str(error.value)
    entries = timm_vit()
    entries["blocks.0.mlp.fc1.weight"] = np.zeros((95, 24), "float32")
    with pytest.raises(ValueError, match=r"blocks\.0\.mlp\.fc1\.weight: \(24, 95\) for .* \(24, 96\)"):
        VIT(weights=written(tmp_path, entries), input_shape=SHAPE)


def test_a_file_of_another_variant_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not the weights of this model"):
        TOYS["swin"][0](weights=written(tmp_path, timm_vit()), input_shape=TOYS["swin"][1])


def test_new_head_is_reported_and_the_body_kept(tmp_path, caplog):
    path = written(tmp_path, timm_vit())
    whole, new = VIT(weights=path, input_shape=SHAPE), VIT(weights=path, input_shape=SHAPE, classes=7)
    assert "head for 1000 classes is left out" in caplog.text
    assert new.output_shape == (None, 7)
    np.testing.assert_array_equal(new.get_layer("norm").gamma, whole.get_layer("norm").gamma)


def test_head_of_other_width_with_default_classes_names_the_remedies(tmp_path):
    with pytest.raises(ValueError, match="Pass classes=21843.*include_top=False"):
        VIT(weights=written(tmp_path, timm_vit(classes=21843)), input_shape=SHAPE)
    model = VIT(weights=tmp_path / "weights.safetensors", input_shape=SHAPE, classes=21843)
    assert model.output_shape == (None, 21843)


def test_file_without_head(tmp_path, caplog):
    path = written(tmp_path, timm_vit(classes=0))
    with pytest.raises(ValueError, match="no classifier. Pass include_top=False"):
        VIT(weights=path, input_shape=SHAPE)
    assert VIT(weights=path, input_shape=SHAPE, include_top=False).output_shape == (None, *GRID, 24)
    VIT(weights=path, input_shape=SHAPE, classes=3)
    assert "the head with 3 classes is new" in caplog.text


def test_head_is_left_out_without_include_top(tmp_path, caplog):
    VIT(weights=written(tmp_path, timm_vit()), input_shape=SHAPE, include_top=False)
    assert caplog.text == ""


def test_positions_follow_the_input_and_are_reported(tmp_path, caplog):
    path = written(tmp_path, timm_vit(grid=(5, 5)))
    model = VIT(weights=path, input_shape=(56, 32, 3))
    assert "positions/table (1, 26, 24) -> (1, 29, 24)" in caplog.text
    assert np.isfinite(run(model)).all()


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_adapt_the_stem(tmp_path, channels, caplog):
    path = written(tmp_path, timm_vit())
    three, other = VIT(weights=path, input_shape=SHAPE), VIT(weights=path, input_shape=(*SIZE, channels))
    assert "patch_embed/kernel" in caplog.text
    if channels == 1:
        grey = np.random.default_rng(0).standard_normal((2, *SIZE, 1)).astype("float32")
        repeated = np.repeat(grey, 3, axis=-1)
        np.testing.assert_allclose(other(grey), three(repeated), atol=1e-6)


def test_flax_npz_equals_timm(tmp_path):
    D, h = 24, 3
    timm, flax = timm_vit(), {}
    flax["cls"], flax["Transformer/posembed_input/pos_embedding"] = timm["cls_token"], timm["pos_embed"]
    flax["embedding/kernel"] = timm["patch_embed.proj.weight"].transpose(2, 3, 1, 0)
    flax["embedding/bias"] = timm["patch_embed.proj.bias"]
    pairs = {"Transformer/encoder_norm": "norm"}
    for i in range(2):
        here, there = f"Transformer/encoderblock_{i}", f"blocks.{i}"
        pairs |= {f"{here}/LayerNorm_0": f"{there}.norm1", f"{here}/LayerNorm_2": f"{there}.norm2"}
        for j, part in enumerate(("query", "key", "value")):
            rows = slice(j * D, (j + 1) * D)
            attention = f"{here}/MultiHeadDotProductAttention_1/{part}"
            flax[f"{attention}/kernel"] = timm[f"{there}.attn.qkv.weight"][rows].T.reshape(D, h, D // h)
            flax[f"{attention}/bias"] = timm[f"{there}.attn.qkv.bias"][rows].reshape(h, D // h)
        out = f"{here}/MultiHeadDotProductAttention_1/out"
        flax[f"{out}/kernel"] = timm[f"{there}.attn.proj.weight"].T.reshape(h, D // h, D)
        flax[f"{out}/bias"] = timm[f"{there}.attn.proj.bias"]
        for j in (0, 1):
            flax[f"{here}/MlpBlock_3/Dense_{j}/kernel"] = timm[f"{there}.mlp.fc{j + 1}.weight"].T
            flax[f"{here}/MlpBlock_3/Dense_{j}/bias"] = timm[f"{there}.mlp.fc{j + 1}.bias"]
    for source, target in pairs.items():
        flax[f"{source}/scale"], flax[f"{source}/bias"] = timm[f"{target}.weight"], timm[f"{target}.bias"]
    flax["head/kernel"], flax["head/bias"] = timm["head.weight"].T, timm["head.bias"]
    expected = run(VIT(weights=written(tmp_path, timm), input_shape=SHAPE))
    for prefix in ("", "opt/target/"):
        np.savez(tmp_path / "flax.npz", **{prefix + key: value for key, value in flax.items()})
        np.testing.assert_array_equal(run(VIT(weights=tmp_path / "flax.npz", input_shape=SHAPE)), expected)
    rng = np.random.default_rng(0)
    flax["pre_logits/kernel"], flax["pre_logits/bias"] = rng.standard_normal((D, D)), rng.standard_normal(D)
    np.savez(tmp_path / "flax.npz", **flax)
    model = VIT(weights=tmp_path / "flax.npz", input_shape=SHAPE)
    np.testing.assert_allclose(model.get_layer("pre_logits").kernel, flax["pre_logits/kernel"], rtol=1e-6)
    assert model.get_layer("pre_logits").activation is keras.activations.tanh
    assert "pre_logits" not in [
        layer.name for layer in VIT(weights=tmp_path / "flax.npz", input_shape=SHAPE, classes=9).layers
    ]


def test_keras_own_formats(tmp_path):
    model = VIT(weights=None, input_shape=SHAPE, classes=4)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for name in ("model.keras", "model.weights.h5"):
        again = VIT(weights=tmp_path / name, input_shape=SHAPE, classes=4)
        np.testing.assert_array_equal(run(again), run(model))
    moved = VIT(weights=tmp_path / "model.keras", input_shape=SHAPE, classes=6)
    np.testing.assert_array_equal(moved.get_layer("norm").gamma, model.get_layer("norm").gamma)
    with pytest.raises(ValueError, match="fits only the same variant"):
        VIT(weights=tmp_path / "model.weights.h5", input_shape=SHAPE, classes=6)


def test_swin_layouts_differ_in_where_merging_is_counted(tmp_path):
    toy = Variant("Toy", swin.SWIN, swin.Config(8, (1, 1, 1), (2, 2, 2), 2))
    model = toy(weights=None, input_shape=(32, 32, 3), classes=3)
    timm = {}
    for variable in model.weights:
        path, value = variable.path, keras.ops.convert_to_numpy(variable)
        name = path.replace("patch_norm", "patch_embed/norm")
        name = name.replace("patch_embed/kernel", "patch_embed/proj/kernel").replace(
            "patch_embed/bias", "patch_embed/proj/bias"
        )
        name = name.replace("merge", "layers/").replace("/reduction", "/downsample/reduction")
        if path.startswith("merge"):
            name = name.replace("/norm", "/downsample/norm")
        name = name.replace("stage", "layers/").replace("_block", "/blocks/").replace("head/", "head/fc/")
        name = name.replace("bias_table", "relative_position_bias_table")
        name = name.replace("gamma", "weight").replace("beta", "bias").replace("kernel", "weight").replace("/", ".")
        if "table" in name:
            value = value.reshape(-1, value.shape[-1])
        timm[name] = np.ascontiguousarray(value.T if value.ndim == 2 and "table" not in name else value)
        if value.ndim == 4:
            timm[name] = np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    official = {key.replace("head.fc", "head"): value for key, value in timm.items() if ".downsample." not in key}
    for s in (1, 2):
        part = f"layers.{s}.downsample"
        official |= {k.replace(part, f"layers.{s - 1}.downsample"): v for k, v in timm.items() if k.startswith(part)}
    official["layers.0.blocks.0.attn.relative_position_index"] = np.zeros((4, 4), "int64")
    for name, entries in (("timm", timm), ("official", official)):
        path = written(tmp_path, entries, f"{name}.safetensors")
        again = toy(weights=path, input_shape=(32, 32, 3), classes=3)
        np.testing.assert_array_equal(run(again), run(model))


@pytest.mark.parametrize(
    "weights, expected",
    [
        ("no_such_tag", "ms_in1k"),
        ("ms_in1kk", "ms_in1k"),
        ("missing.safetensors", "no such file"),
        ("/nowhere/file", "no such file"),
    ],
)
def test_unknown_tags_and_paths(weights, expected):
    with pytest.raises(ValueError, match=expected):
        keras_vit.models.SwinT(weights=weights)


def test_21k_tag_with_default_classes_is_refused_before_any_download():
    with pytest.raises(ValueError, match="classes=21841"):
        keras_vit.models.SwinT(weights="ms_in22k")
    with pytest.raises(ValueError, match="no classifier"):
        keras_vit.models.ViTB16(weights="dino")
    with pytest.raises(ValueError, match="dino|mae|orig_in21k"):
        keras_vit.models.ViTH14(weights="imagenet")


def test_without_a_network_the_error_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match="weights="):
        keras_vit.models.SwinT(weights="imagenet")


def test_vit_epsilons_are_the_published_ones():
    norms = [layer for layer in all_layers(VIT(weights=None, input_shape=SHAPE)) if "norm" in layer.name]
    assert {layer.epsilon for layer in norms} == {vit.EPSILON} == {1e-6}


def test_a_tag_comes_before_a_run_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("imagenet", "ms_in1k", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
        path, row = loading.find_source("SwinT", name, 1000, True)
        assert (path is None, row is None) == ((False, True) if name == "mine" else (True, False))


@pytest.mark.parametrize("name", ["model.ckpt", "best.pth", "weights"])
def test_a_path_in_the_working_folder_needs_no_slash(tmp_path, monkeypatch, name):
    written(tmp_path, timm_vit(classes=5), name)
    monkeypatch.chdir(tmp_path)
    assert VIT(weights=name, input_shape=SHAPE, classes=5).output_shape == (None, 5)
    with pytest.raises(ValueError, match="no such file|a path"):
        VIT(weights=f"no_{name}", input_shape=SHAPE, classes=5)


def test_a_run_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="no such file or run folder"):
        VIT(weights=tmp_path, input_shape=SHAPE)


def test_a_file_of_any_name_is_read_by_its_content(tmp_path):
    path = written(tmp_path, timm_vit(), "weights.of_mine")
    assert np.isfinite(run(VIT(weights=path, input_shape=SHAPE))).all()


def write_other(path, missing, unexpected):
    """Weights of which the toy ViT misses some and does not expect others, in the container that the suffix names."""
    if path.suffix in (".keras", ".h5"):
        swin_toy, shape = TOYS["swin"]
        other = swin_toy(weights=None, input_shape=shape, classes=5)
        other.save(path) if path.suffix == ".keras" else other.save_weights(path)
        return path
    entries = timm_vit()
    for name in list(entries)[:missing]:
        entries[f"zz.{name}"] = entries.pop(name)
    entries |= {f"zzz.{number}": np.zeros(3, "float32") for number in range(unexpected - missing)}
    if path.suffix == ".npz":
        np.savez(path, **entries)
    else:
        save_file(entries, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".keras", ".weights.h5"])
@pytest.mark.parametrize(("missing", "unexpected"), [(25, 25), (25, 26), (1, 30), (30, 30)])
def test_both_sides_are_shown_however_many_there_are(tmp_path, suffix, missing, unexpected):
    with pytest.raises(ValueError) as error:
        VIT(weights=write_other(tmp_path / f"w{suffix}", missing, unexpected), input_shape=SHAPE, classes=5)
    text = str(error.value)
    heads = re.search(r"(\d+) (?:entries|arrays) without a variable, (\d+) variables without an ", text)
    for kind, count in zip(("+ unexpected", "- missing"), map(int, heads.groups())):
        lines = [line for line in text.splitlines() if line.startswith(kind)]
        assert count > 0 and len(lines) == min(count, loading.SHOWN + 1)
        assert (count > loading.SHOWN) == lines[-1].endswith(f"... and {count - loading.SHOWN} more")


def test_another_file_is_not_taken_for_one_without_a_classifier(tmp_path):
    path = written(tmp_path, {"x": np.zeros(3, "float32")})
    for arguments in ({}, {"classes": 7}, {"include_top": False}):
        with pytest.raises(ValueError, match="not the weights of this model"):
            VIT(weights=path, input_shape=SHAPE, **arguments)


@pytest.mark.parametrize("count", [1, 20, 24])
def test_wrong_shapes_are_counted(tmp_path, count):
    entries = timm_vit()
    for name in [name for name in entries if name.startswith("blocks.")][:count]:
        entries[name] = np.zeros((2, 2, 2, 2), "float32")
    with pytest.raises(ValueError, match=f"{count} entries do not fit") as error:
        VIT(weights=written(tmp_path, entries), input_shape=SHAPE)
    assert len([line for line in str(error.value).splitlines() if line.startswith("~")]) == min(count, 21)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ckpt.index", "part of a TensorFlow checkpoint"),
        ("ckpt.data-00000-of-00001", "part of a TensorFlow checkpoint"),
        ("saved_model.pb", "part of a TensorFlow checkpoint or SavedModel"),
        ("script.pt", "TorchScript program, and was not executed.*torch.jit.load"),
        ("optimizer.npz", "checkpoint of training; give the run folder"),
        ("empty", "a folder, which has none of them"),
        ("hub", "a folder; name one of .*model.safetensors"),
        ("saved", "which is a SavedModel"),
        ("model.tflite", "which is a .tflite file"),
    ],
)
def test_what_holds_no_weights_is_named_with_a_remedy(tmp_path, name, message):
    path = tmp_path / name
    if name in ("empty", "hub", "saved"):
        path.mkdir()
        for file in {"hub": ("model.safetensors",), "saved": ("saved_model.pb",)}.get(name, ()):
            (path / file).touch()
    elif name == "script.pt":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("script/data.pkl", b"\x80\x02c__torch__.torch.nn\nModel\n)\x81.")
            file.writestr("script/code/__torch__.py", "raise SystemExit")
    elif name == "optimizer.npz":
        np.savez(
            path, **{"model/00000/patch_embed/kernel": np.zeros(3), "optimizer/00000/adamw/iteration": np.zeros(3)}
        )
    else:
        path.write_bytes(b"\x00\x01 anything")
    with pytest.raises(ValueError, match=f"(?s){name}.*{message}"):
        VIT(weights=path, input_shape=SHAPE)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.npz", "weights.keras", "weights.weights.h5"])
def test_numbers_that_are_not_finite_are_said(tmp_path, caplog, name):
    entries, path = timm_vit(), tmp_path / name
    entries["norm.bias"][3] = np.nan
    if path.suffix in (".keras", ".h5"):
        model = VIT(weights=written(tmp_path, entries, "source.safetensors"), input_shape=SHAPE)
        caplog.clear()
        model.save(path) if path.suffix == ".keras" else model.save_weights(path)
    else:
        np.savez(path, **entries) if path.suffix == ".npz" else save_file(entries, path)
    model = VIT(weights=path, input_shape=SHAPE)
    assert f"{path}: 1 of its arrays have numbers that are NaN or infinite, norm" in caplog.text
    assert np.isnan(model.get_layer("norm").beta[3])


def test_large_numbers_are_finite(tmp_path, caplog):
    entries = timm_vit()
    entries["norm.bias"][:] = 3e38  # whose sum is not
    VIT(weights=written(tmp_path, entries), input_shape=SHAPE)
    assert caplog.text == ""


def unread(arrays, name, shape):
    """Entries of which one declares a shape and must not be read."""

    def load():
        raise AssertionError(name)

    entries = {key: Entry(array.shape, lambda array=array: array) for key, array in arrays.items()}
    return Entries("w.pth", entries | {name: Entry(shape, load)})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blocks.0.mlp.fc1.weight", (2**40, 24)),
        ("blocks.0.norm1.weight", (0,)),
        ("pos_embed", (1, 1 + 2**40, 24)),
        ("pos_embed", (1, 1 + 30, 2**40)),
        ("pos_embed", (1, 0, 24)),
        ("pos_embed", (2**20,)),
        ("patch_embed.proj.weight", (24, 0, 8, 8)),
        ("patch_embed.proj.weight", (2**20, 3, 8, 8)),
        ("head.weight", (5, 2**40)),
    ],
)
def test_shapes_are_compared_before_anything_is_read(name, shape):
    model = VIT(weights=None, input_shape=SHAPE, classes=1000)
    source = loading.WeightFile("w.pth", unread(timm_vit(), name, shape))
    with pytest.raises(ValueError, match=rf"w.pth: 1 entries do not fit the model:\n~ {re.escape(name)}: \("):
        loading.load(model, source, vit.VIT, True, 1000)


@pytest.mark.parametrize("shape", [(), (3, 3), (0,)])
def test_a_classifier_whose_bias_has_another_shape_is_refused(tmp_path, shape):
    entries = timm_vit()
    entries["head.bias"] = np.zeros(shape, "float32")
    with pytest.raises(ValueError, match="weights.safetensors: .*classifier of this file has"):
        VIT(weights=written(tmp_path, entries), input_shape=SHAPE)


def test_arrays_that_are_no_numbers_are_refused(tmp_path):
    for kind in ("complex64", "U1"):
        entries = timm_vit() | {"norm.bias": np.zeros(24, kind)}
        np.savez(tmp_path / "w.npz", **entries)
        with pytest.raises(
            ValueError, match="w.npz: 1 entries do not fit the model:\n~ norm.bias: (complex64|<U1) for"
        ):
            VIT(weights=tmp_path / "w.npz", input_shape=SHAPE)


def test_a_model_of_other_inputs_is_refused_by_its_weights(tmp_path):
    inputs = [keras.Input((3,)), keras.Input((3,))]
    keras.Model(inputs, keras.layers.Add()(inputs)).save(tmp_path / "two.keras")
    with pytest.raises(ValueError, match="two.keras: not the weights of this model"):
        VIT(weights=tmp_path / "two.keras", input_shape=SHAPE)
