import dataclasses
import io
import json
import resource
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from keras_vit.export.model.features import features
from keras_vit.export.model.source import ExportedModel, open_source
from keras_vit.export.parity import replay
from keras_vit.export.serving import operators, warmup
from keras_vit.export.serving.saved_model import export, next_version, save
from tests.export import cpp_loader, toys


def encode(pixels, form):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def test_the_folder_has_tf_servings_layout(exported):
    bundle, version, report = exported
    assert version == bundle / "models" / "toys" / "1"
    present = {str(p.relative_to(version)) for p in version.rglob("*") if p.is_file()}
    assert {"saved_model.pb", "assets/labels.txt", "assets/preprocessing.json", warmup.PATH} <= present
    assert (version / "assets" / "labels.txt").read_text().splitlines() == list(toys.LABELS)
    assert json.loads((version / "assets.extra" / "report.json").read_text()) == report
    assert [p.name for p in (bundle / "models" / "toys").iterdir()] == ["1"]


def test_signatures(served):
    classify, predict = served.signatures["serving_default"], served.signatures["predict_images"]
    assert classify.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec([None], tf.string, name="image_bytes")
    }
    assert {k: (v.shape.as_list(), v.dtype) for k, v in classify.structured_outputs.items()} == {
        "classes": ([None, 3], tf.string),
        "scores": ([None, 3], tf.float32),
        "class_ids": ([None, 3], tf.int32),
    }
    assert predict.structured_input_signature[1] == {
        "images": tf.TensorSpec([None, 16, 24, 3], tf.float32, name="images")
    }
    assert {k: (v.shape.as_list(), v.dtype) for k, v in predict.structured_outputs.items()} == {
        "probabilities": ([None, 6], tf.float32)
    }
    embed = served.signatures["features"]
    assert embed.structured_input_signature[1] == classify.structured_input_signature[1]
    assert {k: (v.shape.as_list(), v.dtype) for k, v in embed.structured_outputs.items()} == {
        "embedding": ([None, 64], tf.float32)
    }


def test_the_report_names_signatures_and_operators(exported):
    report = exported[2]
    assert report["signatures"]["serving_default"] == {
        "inputs": {"image_bytes": ["string", [None]]},
        "outputs": {
            "classes": ["string", [None, 3]],
            "scores": ["float32", [None, 3]],
            "class_ids": ["int32", [None, 3]],
        },
    }
    assert report["signatures"]["features"]["outputs"] == {"embedding": ["float32", [None, 64]]}
    assert not [name for ends in report["signatures"].values() for name in ends["outputs"] if name.endswith("_bytes")]
    assert report["graph"]["tensorflow"] == tf.__version__
    assert {"Conv2D", "DecodeJpeg"} <= set(report["graph"]["operators"])
    assert report["largest_difference_of_features"] <= 1e-5


def test_features_of_bytes(served, toy_source, expected):
    files = [Path(file).read_bytes() for file in expected.files]
    output = served.signatures["features"](image_bytes=tf.constant([*files, b"no image"]))["embedding"].numpy()
    np.testing.assert_allclose(output[:-1], features(toy_source)(tf.constant(expected.images, tf.float32)), atol=1e-5)
    assert (output[-1] == 0).all() and (np.abs(output[:-1]).max(1) > 0).all()


def test_without_a_dense_classifier_there_is_no_features_signature(toy_source, tmp_path):
    image = keras.Input((*toys.SIZE, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(6, 4)(image)))
    signatures = save(dataclasses.replace(toy_source, model=model), tmp_path)
    assert (
        set(signatures) == set(tf.saved_model.load(str(tmp_path)).signatures) == {"serving_default", "predict_images"}
    )


@pytest.mark.parametrize("classes", [1, 21_843])
def test_one_class_to_all_of_imagenet(toy_source, tmp_path, classes):
    labels = tuple(f"n{number}" for number in range(classes))
    model = toys.toy_model(classes, activation="sigmoid" if classes == 1 else "softmax")
    save(dataclasses.replace(toy_source, model=model, labels=labels), tmp_path)
    classify = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype="uint8")
    output = classify(image_bytes=tf.constant([encode(pixels, "PNG"), b""]))
    ids, names = output["class_ids"].numpy(), output["classes"].numpy()
    assert ids.shape == (2, min(classes, 5)) and (ids[1] == -1).all() and (names[1] == b"").all()
    assert [name.decode() for name in names[0]] == [labels[number] for number in ids[0]]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF"])
def test_classes_of_every_format_are_best_first(served, form):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype="uint8")
    output = served.signatures["serving_default"](image_bytes=tf.constant([encode(pixels, form)]))
    scores, ids = output["scores"].numpy()[0], output["class_ids"].numpy()[0]
    assert (np.diff(scores) <= 0).all() and 0 < scores.sum() <= 1.000001
    assert [name.decode() for name in output["classes"].numpy()[0]] == [toys.LABELS[i] for i in ids]


def test_bytes_and_images_agree_for_an_image_of_the_models_size(toy_run, tmp_path):
    spec = dataclasses.replace(open_source(toy_run).spec, crop_pct=1.0)
    save(dataclasses.replace(open_source(toy_run), spec=spec), tmp_path, top_k=6)
    served = tf.saved_model.load(str(tmp_path))
    pixels = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype="uint8")
    output = served.signatures["serving_default"](image_bytes=tf.constant([encode(pixels, "PNG")]))
    images = tf.constant(pixels[np.newaxis], tf.float32)
    direct = served.signatures["predict_images"](images=images)["probabilities"].numpy()[0]
    np.testing.assert_allclose(direct[output["class_ids"][0]], output["scores"][0], atol=1e-6)


def test_undecodable_images_do_not_affect_the_others(served):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype="uint8")
    png, jpeg = encode(pixels, "PNG"), encode(pixels, "JPEG")
    batch = [png, b"no image", b"", png[:300], jpeg[:300], jpeg]
    classify = served.signatures["serving_default"]
    output = {key: value.numpy() for key, value in classify(image_bytes=tf.constant(batch)).items()}
    alone = classify(image_bytes=tf.constant([jpeg]))
    np.testing.assert_array_equal(output["class_ids"][5], alone["class_ids"][0])
    np.testing.assert_allclose(output["scores"][5], alone["scores"][0], atol=1e-6)
    assert output["scores"][0, 0] > 0
    assert (output["classes"][1:5] == b"").all()
    assert (output["scores"][1:5] == 0).all()
    assert (output["class_ids"][1:5] == -1).all()


def test_an_empty_batch_has_empty_outputs(served):
    output = served.signatures["serving_default"](image_bytes=tf.constant([], tf.string))
    assert {key: (value.shape, value.dtype) for key, value in output.items()} == {
        "classes": ((0, 3), tf.string),
        "scores": ((0, 3), tf.float32),
        "class_ids": ((0, 3), tf.int32),
    }
    output = served.signatures["predict_images"](images=tf.zeros((0, 16, 24, 3)))
    assert output["probabilities"].shape == (0, 6)
    assert served.signatures["features"](image_bytes=tf.constant([], tf.string))["embedding"].shape == (0, 64)


def test_top_k_is_at_most_the_number_of_classes(toy_source, tmp_path):
    save(toy_source, tmp_path, top_k=50)
    signature = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    assert signature.structured_outputs["scores"].shape == (None, 6)


def test_a_mixed_precision_model_is_served_in_float32(toy_source, tmp_path):
    path, folder = tmp_path / "mixed.keras", tmp_path / "saved"
    toys.toy_model(dtype="mixed_bfloat16").save(path)
    toy_source.spec.save(tmp_path / "spec.json")
    save(open_source(path, tmp_path / "spec.json"), folder)
    written = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = written.meta_graphs[0].graph_def
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    types = {attribute.type for node in nodes for attribute in node.attr.values()}
    assert tf.float32.as_datatype_enum in types and tf.bfloat16.as_datatype_enum not in types
    images = tf.constant(np.random.default_rng(1).uniform(0, 255, (2, 16, 24, 3)), tf.float32)
    served, single = tf.saved_model.load(str(folder)), tmp_path / "single"
    save(ExportedModel(toys.toy_model(), toy_source.spec, toy_source.labels, "toy"), single)
    other = tf.saved_model.load(str(single))
    ours, theirs = (m.signatures["predict_images"](images=images) for m in (served, other))
    np.testing.assert_array_equal(ours["probabilities"], theirs["probabilities"])


def test_a_process_without_keras_loads_it(exported, tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(replay.__file__).parent)!r})
import replay
sys.path.pop(0)
sys.meta_path.insert(0, replay.Refuse())
import tensorflow as tf
model = tf.saved_model.load({str(exported[1])!r})
output = model.signatures["serving_default"](image_bytes=tf.constant([b"no image"]))
print(output["class_ids"].numpy().tolist(), "keras" in sys.modules, "keras_vit" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[[-1, -1, -1]] False False", done.stderr[-1000:]


def test_tf_servings_own_loader_runs_it_without_python(exported, expected, served_outputs):
    """The C++ loader and session, in a process that imports no package."""
    content = saved_model_pb2.SavedModel.FromString((exported[1] / "saved_model.pb").read_bytes())
    signature = content.meta_graphs[0].signature_def["serving_default"]
    names = {
        "input": signature.inputs["image_bytes"].name,
        "outputs": {name: tensor.name for name, tensor in signature.outputs.items()},
    }
    (library,) = Path(tf.sysconfig.get_lib()).glob("libtensorflow_cc.*")
    command = [sys.executable, "-S", cpp_loader.__file__, str(library), str(exported[1]), json.dumps(names)]
    done = subprocess.run([*command, *expected.files, "-"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    outputs = json.loads(done.stdout)
    assert not {"tensorflow", "keras", "keras_vit", "numpy"} & set(outputs["modules"])
    assert outputs["classes"][:-1] == served_outputs["classes"].tolist()
    assert outputs["class_ids"][:-1] == served_outputs["class_ids"].tolist()
    np.testing.assert_allclose(outputs["scores"][:-1], served_outputs["scores"], atol=1e-5)
    assert outputs["classes"][-1] == [""] * 3 and outputs["class_ids"][-1] == [-1] * 3


def test_version_numbers(tmp_path):
    assert next_version(tmp_path / "absent").name == "1"
    for name in ("1", "9", "10", "x11", ".12.tmp"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path).name == "11"


def test_the_next_export_is_the_next_version(toy_source, expected, quick_exports, tmp_path):
    target = tmp_path / "models" / "other-name" / "7"
    target.mkdir(parents=True)
    path, report, _ = export(toy_source, tmp_path, "other-name", expected=expected)
    assert path == target.with_name("8") and (path / "saved_model.pb").is_file()
    assert (report["model"], report["version"]) == ("other-name", 8)


@pytest.mark.parametrize("arguments", [{"name": "a/b"}, {"name": ".hidden"}, {"top_k": 0}])
def test_unusable_arguments(toy_source, expected, tmp_path, arguments):
    with pytest.raises(ValueError, match="Received"):
        export(toy_source, tmp_path, expected=expected, **arguments)


def shifted(array, amount):
    return array + np.float32(amount)


@pytest.mark.parametrize("wrong", ["probabilities", "scores", "embedding"])
def test_above_the_tolerance_nothing_is_kept(toy_source, expected, served_outputs, quick_exports, tmp_path, wrong):
    scale = max(1.0, np.abs(served_outputs[wrong]).max())
    quick_exports(**{wrong: shifted(served_outputs[wrong], 1e-4 * scale)})
    with pytest.raises(ValueError, match=r"not kept.*largest difference 1\.0e-04 \(at most 1e-05\)"):
        export(toy_source, tmp_path / "serving", expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_are_not_kept(toy_source, expected, served_outputs, quick_exports, tmp_path):
    quick_exports(classes=served_outputs["classes"][::-1])
    with pytest.raises(ValueError, match="wrong names"):
        export(toy_source, tmp_path / "serving", expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_what_tf_serving_cannot_run_is_not_kept(toy_source, expected, quick_exports, monkeypatch, tmp_path):
    consumer, known = operators.known_operators(operators.SERVING)
    monkeypatch.setattr(
        operators, "known_operators", lambda release: (consumer, {k: v for k, v in known.items() if k != "Conv2D"})
    )
    with pytest.raises(ValueError, match="not kept.*the operator Conv2D"):
        export(toy_source, tmp_path / "serving", expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(toy_source, expected, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be written"):
            export(toy_source, tmp_path / "serving", expected=expected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
