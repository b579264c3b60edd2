"""Folders for timm and transformers, as they are read back; what the libraries make of them: tests/libraries."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.cli import export
from keras_vit.export.interchange import library_folder
from keras_vit.export.model.source import ExportedModel
from keras_vit.models.recognition import recognize
from keras_vit.preprocessing import Spec
from keras_vit.sources.resolve import resolve
from keras_vit.sources.run_folder import Run
from keras_vit.weights.resample import resample_grid
from tests.golden.seeded import seeded
from tests.models.toys import TOYS

LABELS = ("tabby cat", "Österreich", "n01440764")
SPEC = Spec((48, 60), (0.4, 0.5, 0.45), (0.2, 0.25, 0.3), crop_mode="squash")


def toy(name="swin", spec=SPEC, **options):
    variant, shape = TOYS[name]
    model = variant(weights=None, input_shape=shape, classes=len(LABELS), **options)
    return ExportedModel(model, spec, LABELS, name, input_values="normalized")


@pytest.mark.parametrize("library, name, size", [("timm", "swin", (48, 60)), ("transformers", "vit", (40, 48))])
def test_a_folder_is_the_model_with_its_labels_and_preprocessing(tmp_path, library, name, size):
    source = toy(name, spec=dataclasses.replace(SPEC, size=size))
    sizes = library_folder.write(source, library, tmp_path / "f")
    names = {"config.json", "model.safetensors"} | (
        {"preprocessor_config.json"} if library == "transformers" else set()
    )
    assert set(sizes) == names == {path.name for path in (tmp_path / "f").iterdir()} and all(sizes.values())
    found = resolve(tmp_path / "f")
    assert (found.kind, found.labels(), found.spec()) == ("library", LABELS, source.spec)
    again = keras_vit.create_model(tmp_path / "f")
    for variable, other in zip(source.model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(variable, other)


@pytest.mark.parametrize("library", ["transformers", "timm"])
def test_positions_of_unequal_sides_are_resampled_from_the_stated_grid(tmp_path, library):
    source = toy("vit", spec=dataclasses.replace(SPEC, size=(40, 48)))
    for variable in source.model.weights:
        variable.assign(seeded(variable.path, tuple(variable.shape)).astype("float32"))
    library_folder.write(source, library, tmp_path / "f")
    grid = source.model.get_layer("positions").weights[0].numpy()[0, 1:].reshape(5, 6, -1)
    for size in ((48, 40), (64, 48)):  # as many patches on another grid, and more
        expected = resample_grid(grid, (size[0] // 8, size[1] // 8), antialias=library == "timm")
        options = {"input_shape": (*size, 3), "classes": len(LABELS)}
        folder, file = tmp_path / "f", str(tmp_path / "f" / "model.safetensors")
        for model in (keras_vit.create_model(folder, **options), TOYS["vit"][0](weights=file, **options)):
            (table,) = model.get_layer("positions").weights
            np.testing.assert_allclose(table.numpy()[0, 1:], expected.reshape(-1, grid.shape[-1]), atol=1e-6)


def test_a_run_is_exported_by_the_verb(tmp_path, capsys):
    source, run = toy(), tmp_path / "run"
    Run.write_description(run, name="mine", model_name="ToySwin", labels=LABELS, spec=SPEC)
    source.model.save(run / "model.keras")
    assert export.main([str(run), "--format", "timm", "--output", str(tmp_path / "f")]) == 0
    printed = capsys.readouterr().out
    assert (
        "model.safetensors" in printed
        and f'timm.create_model("local-dir:{tmp_path / "f"}", pretrained=True)' in printed
    )
    assert json.loads((tmp_path / "f" / "config.json").read_text(encoding="utf-8"))["label_names"] == list(LABELS)
    with pytest.raises(FileExistsError):
        export.main([str(run), "--format", "timm", "--output", str(tmp_path / "f")])
    with pytest.raises(ValueError, match="--name, --label and --batch-sizes are for --format serving"):
        export.main([str(run), "--format", "timm", "--output", "f", "--name", "x"])


@pytest.mark.slow
@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_run_is_written_at_another_size_with_its_positions_resampled(tmp_path, library):
    source, run = toy("vit", spec=dataclasses.replace(SPEC, size=(40, 48))), tmp_path / "run"
    Run.write_description(run, name="mine", model_name="ToyViT", labels=LABELS, spec=source.spec)
    for weight in source.model.weights:
        weight.assign(weight + np.random.default_rng(0).normal(0, 0.2, weight.shape))
    source.model.save(run / "model.keras")
    options = ["--img-size", "56x64", "--crop-pct", "0.5", "--input-values", "normalized"]
    assert export.main([str(run), "--format", library, *options, "--output", str(tmp_path / "f")]) == 0
    ours = keras_vit.Predictor.open(run, None, None, "normalized", (56, 64), 0.5)
    theirs = keras_vit.Predictor.open(tmp_path / "f")
    assert theirs.spec == ours.spec
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    np.testing.assert_allclose(theirs.predict([image]), ours.predict([image]), atol=1e-6)


def test_nothing_is_left_of_what_a_library_does_not_have(tmp_path):
    for name, library in (("tnt", "transformers"), ("pvt", "timm"), ("convnext_isotropic", "timm")):
        with pytest.raises(ValueError, match=f"{library} has no"):
            library_folder.write(toy(name), library, tmp_path / "f")
    with pytest.raises(ValueError, match="format: expected one of transformers, timm. Received: 'jax'"):
        library_folder.write(toy(), "jax", tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_only_classifiers_whose_classes_exclude_each_other(tmp_path):
    with pytest.raises(
        ValueError, match="one output per class, and softmax or logits. Received: 3 outputs with sigmoid"
    ):
        library_folder.write(toy(classifier_activation="sigmoid"), "timm", tmp_path / "f")
    with pytest.raises(ValueError, match="Received: 3 outputs with softmax for 2 labels"):
        library_folder.write(dataclasses.replace(toy(), labels=LABELS[:2]), "timm", tmp_path / "f")


def test_what_a_model_does_to_pixels_itself_becomes_preprocessing(tmp_path):
    with_layer = toy(include_preprocessing=True)
    recognized = recognize(with_layer.model)
    layer = with_layer.model.get_layer("normalization")
    spec = library_folder.preprocessing_of(dataclasses.replace(with_layer, input_values="pixels"), recognized)
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype("float32")
    np.testing.assert_allclose(
        (image / 255 - spec.mean) / spec.std, keras.ops.convert_to_numpy(layer(image)), atol=1e-5
    )
    recognized = dataclasses.replace(recognized, takes_pixels=False)
    for values, numbers in (("pixels", image), ("unit", image / 255)):
        spec = library_folder.preprocessing_of(dataclasses.replace(toy(), input_values=values), recognized)
        np.testing.assert_allclose((image / 255 - spec.mean) / spec.std, numbers, rtol=1e-6)


def test_a_folder_that_is_read_back_otherwise_is_not_kept(tmp_path, monkeypatch):
    source = toy("vit", dataclasses.replace(SPEC, size=(40, 48)))
    from keras_vit.weights import writing

    def spoiled(path, arrays):
        writing_of_all(path, arrays | {"head.bias": arrays["head.bias"] + 1})

    writing_of_all = writing.write_safetensors
    monkeypatch.setattr(writing, "write_safetensors", spoiled)
    with pytest.raises(ValueError, match="head/bias is not read back as it was written"):
        library_folder.write(source, "timm", tmp_path / "f")
    assert not list(tmp_path.iterdir())
