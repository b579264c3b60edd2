import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_vit.export.model import files, inference
from keras_vit.export.model.features import features, maps
from keras_vit.export.model.source import ExportedModel, of_any_size, open_source
from keras_vit.export.parity import parity
from keras_vit.export.serving.saved_model import save
from keras_vit.export.serving.served import ServedModel
from keras_vit.models.sizes import at_image_size
from keras_vit.prediction import runtimes
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec, read_image
from keras_vit.sources.answers import Answers
from keras_vit.tf_graph.tracing import NoInferenceForm
from tests.export import toys
from tests.models.toys import TOYS


def stored_floats(folder):
    """Bytes of the float32 constants of a SavedModel's graph, functions included."""
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    constants = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
    return sum(tf.make_ndarray(one).nbytes for one in constants if one.dtype == tf.float32.as_datatype_enum)


def test_the_inference_form_is_stored_once_for_all_signatures(exported, served, toy_source):
    count = toy_source.model.count_params()
    assert not any(signature.variables for signature in served.signatures.values())  # of a toy all are constants
    assert 0.95 * 4 * count < stored_floats(exported[1]) < 1.05 * 4 * count  # the norm's shift is in the head's bias
    predictor = Predictor.open(exported[1])
    assert predictor.parameters == count and predictor.weights == exported[1] / "saved_model.pb"


def test_its_large_weights_are_variables_of_all_signatures(toy_source, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vit.tf_graph.inference_form.LARGE", 2000)
    save(toy_source, tmp_path)
    predictor, loaded = Predictor.open(tmp_path), tf.saved_model.load(str(tmp_path))
    shapes = [{tuple(one.shape) for one in loaded.signatures[name].variables} for name in sorted(loaded.signatures)]
    assert shapes == [{(4, 4, 3, 32), (32, 64)}, {(4, 4, 3, 32), (32, 64)}, {(4, 4, 3, 32), (32, 64)}]
    assert len({one.ref() for signature in loaded.signatures.values() for one in signature.variables}) == 2
    assert stored_floats(tmp_path) < 4000
    assert predictor.parameters == toy_source.model.count_params() and "variables.data" in predictor.weights.name
    images = tf.constant(np.random.default_rng(1).uniform(0, 255, (2, 16, 24, 3)), tf.float32)
    given = loaded.signatures["predict_images"](images=images)["probabilities"]
    np.testing.assert_allclose(given, inference.probabilities(toy_source)(images), atol=1e-6)


def test_a_signature_computes_no_outputs_of_others(exported):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(exported[1]))
        found = {}
        for name, signature in loaded.signature_def.items():
            if not signature.inputs:  # the loader's own
                continue
            (image,), metadata = signature.inputs.values(), tf.compat.v1.RunMetadata()
            fed = np.zeros((1, 16, 24, 3)) if name == "predict_images" else [b"no image"]
            options = tf.compat.v1.RunOptions(output_partition_graphs=True)
            outputs = [tensor.name for tensor in signature.outputs.values()]
            session.run(outputs, {image.name: fed}, options, metadata)
            kinds = [node.op for graph in metadata.partition_graphs for node in graph.node]
            found[name] = sum("MatMul" in kind for kind in kinds)
    assert found == {"serving_default": 2, "predict_images": 2, "features": 1}


def test_a_model_without_an_inference_form_is_served_as_it_is(toy_source, tmp_path, monkeypatch):
    def refuse(*_):
        raise NoInferenceForm("It looks something up.")

    monkeypatch.setattr("keras_vit.export.serving.served.inference_form", refuse)
    save(toy_source, tmp_path)
    loaded = tf.saved_model.load(str(tmp_path))
    assert all(signature.variables for signature in loaded.signatures.values())
    assert runtimes.parameters(loaded) == toy_source.model.count_params()
    images = tf.constant(np.random.default_rng(1).uniform(0, 255, (2, 16, 24, 3)), tf.float32)
    given = loaded.signatures["predict_images"](images=images)["probabilities"]
    np.testing.assert_allclose(given, inference.probabilities(toy_source)(images), atol=1e-6)


@pytest.fixture(scope="module")
def any_size(tmp_path_factory):
    """(source, SavedModel, its signatures) of a toy ConvNeXt of any size, which a model of 32 x 40 pixels became."""
    variant, shape = TOYS["convnext"]
    model = variant(weights=None, input_shape=shape, classes=6)
    draw = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + draw.normal(0, 0.1, weight.shape))
    spec = Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    source = of_any_size(ExportedModel(model, spec, toys.LABELS, "toy", input_values="normalized"))
    folder = tmp_path_factory.mktemp("any")
    signatures = save(source, folder)
    return source, tf.saved_model.load(str(folder)), signatures


@pytest.mark.slow
def test_a_model_of_any_size_has_signatures_that_take_any(any_size):
    source, loaded, signatures = any_size
    assert {"features_of_images", "maps_of_images"} < set(loaded.signatures)
    assert signatures["predict_images"]["inputs"] == {"images": ["float32", [None, 32, 40, 3]]}
    assert signatures["features_of_images"]["inputs"] == {"images": ["float32", [None, None, None, 3]]}
    for size in ((64, 40), (48, 100)):
        images = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")
        fixed = at_image_size(source.model, size)
        at = dataclasses.replace(source, model=fixed, spec=source.spec.at(size))
        given = loaded.signatures["features_of_images"](images=tf.constant(images))["embedding"]
        np.testing.assert_allclose(given, features(at)(images), atol=1e-5)
        given, expected = loaded.signatures["maps_of_images"](images=tf.constant(images)), maps(at)(images)
        assert set(given) == set(expected) == {"P2", "P3"}
        for level, found in given.items():
            np.testing.assert_allclose(found, expected[level], atol=1e-5 * np.abs(expected[level]).max())


@pytest.mark.slow
def test_all_its_signatures_share_its_variables(any_size):
    source, loaded, _ = any_size
    variables = [signature.variables for signature in loaded.signatures.values()]
    assert all(variables) and runtimes.parameters(loaded) == source.model.count_params()
    assert len({one.ref() for found in variables for one in found}) <= len(source.model.weights)


@pytest.mark.slow
def test_what_they_give_at_another_size_is_checked(any_size):
    source = any_size[0]
    expected = parity.Expected((), "noise", None, np.zeros((1, 32, 40, 3), np.uint8), np.zeros((1, 6)))
    outputs = {
        "class_ids": np.zeros((1, 1), int),
        "classes": np.array([[toys.LABELS[0]]]),
        "scores": np.zeros((1, 1)),
        "probabilities": np.zeros((1, 6)),
        "features_of_images.embedding": np.zeros((1, 16), "float32"),
        "maps_of_images.P2": np.zeros((1, 8, 20, 8), "float32"),
        "maps_of_images.P3": np.zeros((1, 4, 10, 16), "float32"),
    }
    with pytest.raises(ValueError, match="differ from the Keras model's"):
        parity.check_saved_model(outputs, expected, source)


@pytest.mark.slow
def test_empty_batches_of_any_size_have_empty_outputs(any_size):
    loaded = any_size[1]
    none = tf.zeros((0, 64, 64, 3))
    assert loaded.signatures["maps_of_images"](images=none)["P3"].shape[0] == 0
    assert loaded.signatures["features_of_images"](images=none)["embedding"].shape == (0, 16)


@pytest.fixture(scope="module")
def several(several_run, tmp_path_factory):
    """(served object, its files' contents, the Keras `Predictor`) of the toy with several labels."""
    source = open_source(several_run)
    folder = tmp_path_factory.mktemp("assets")
    served = ServedModel(source, None, files.write_labels_and_spec(folder, source))
    return served, [path.read_bytes() for path, _ in source.images], Predictor.open(several_run)


def classified(served, encoded):
    return {name: value.numpy() for name, value in served.classify(tf.constant(encoded)).items()}


def test_of_several_labels_those_that_an_image_has_are_given(several):
    served, images, predictor = several
    output = classified(served, [*images, b"no image"])
    assert {name: value.shape for name, value in output.items()} == {
        **dict.fromkeys(("classes", "scores", "class_ids"), (13, 6)),
        **dict.fromkeys(("decoded", "known_score", "unknown"), (13,)),
    }
    scores, known = predictor.predict_known([predictor.prepare(read_image(io.BytesIO(image))) for image in images])
    for row, (ids, names, given) in enumerate(zip(output["class_ids"], output["classes"], output["scores"])):
        number = (ids >= 0).sum()
        assert (ids[number:] == -1).all() and (names[number:] == b"").all() and (given[number:] == 0).all()
        assert [name.decode() for name in names[:number]] == [toys.LABELS[k] for k in ids[:number]]
        expected = set(np.flatnonzero(scores[row] >= predictor.thresholds)) if row < 12 else set()
        assert set(ids[:number]) == expected and (np.diff(given) <= 0).all()
    assert output["decoded"].tolist() == 12 * [True] + [False]
    np.testing.assert_allclose(output["known_score"], [*known, 0], rtol=1e-5)
    assert output["unknown"].tolist() == [*predictor.is_unknown(known), True] and predictor.is_unknown(known).sum() == 2


@pytest.mark.slow
def test_top_k_keeps_the_best_of_several_labels(several, several_run, tmp_path):
    source = open_source(several_run)
    served = ServedModel(source, 1, files.write_labels_and_spec(tmp_path, source))
    all_of_them, best = classified(several[0], several[1]), classified(served, several[1])
    np.testing.assert_array_equal(best["class_ids"], all_of_them["class_ids"][:, :1])


def test_no_image_is_an_answer_for_none(several):
    output = classified(several[0], np.zeros(0, object))
    assert all(len(value) == 0 for value in output.values())


@pytest.mark.slow
def test_an_unknown_image_of_one_label(toy_run, several, tmp_path):
    source = open_source(toy_run)
    unknown = {"score": "max_logit", "threshold": 3.0, "kept": 0.9}
    source = dataclasses.replace(source, answers=Answers(unknown=unknown))
    output = classified(ServedModel(source, 2, files.write_labels_and_spec(tmp_path, source)), several[1])
    assert "decoded" not in output and output["classes"].shape == (12, 2)
    assert output["unknown"].tolist() == (output["known_score"] < 3).tolist() and 0 < output["unknown"].sum() < 12
