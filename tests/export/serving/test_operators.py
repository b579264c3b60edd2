"""The operators of TF Serving's release, and errors for those that it lacks."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_vit.export.serving import operators


@pytest.fixture
def saved_model(tmp_path):
    """A folder with a graph of two nodes and a function of one, and how to change it."""
    content = saved_model_pb2.SavedModel()
    graph = content.meta_graphs.add().graph_def
    graph.versions.producer, graph.versions.min_consumer = 5000, 12
    node = graph.node.add(name="a", op="Conv2D")
    node.attr["strides"].list.i.extend([1, 1, 1, 1])
    node.attr["_output_shapes"].s = b""
    graph.node.add(name="b", op="own_function")
    function = graph.library.function.add()
    function.signature.name = "own_function"
    function.node_def.add(name="c", op="AddV2")
    content.meta_graphs[0].meta_info_def.tensorflow_version = "2.99.0"

    def write(change):
        change(graph, node, function)
        (tmp_path / "saved_model.pb").write_bytes(content.SerializeToString())
        return tmp_path

    return write


def test_a_graph_of_known_operators_passes_and_is_reported(saved_model):
    folder = saved_model(lambda *parts: None)
    operators.check(folder)
    assert operators.graph_report(folder) == {
        "tensorflow": "2.99.0",
        "producer": 5000,
        "min_consumer": 12,
        "operators": ["AddV2", "Conv2D", "own_function"],
        "checked_for_tensorflow_serving": ["2.20.0", "2.21.0"],
    }


def unknown_operator(graph, node, function):
    function.node_def.add(name="d", op="DecodeJxl")


def attribute_of_2_21(graph, node, function):
    function.node_def.add(name="d", op="TensorListGetItem").attr["Tshape"].type = 9


def unknown_attribute(graph, node, function):
    node.attr["turns"].i = 3


def newer_graph(graph, node, function):
    graph.versions.min_consumer = 9000


@pytest.mark.parametrize(
    "change, problem",
    [
        (unknown_operator, "It lacks the operator DecodeJxl. Export with TensorFlow 2.20"),
        (attribute_of_2_21, "TF Serving 2.20.0 cannot .* the attribute Tshape of TensorListGetItem"),
        (unknown_attribute, "the attribute turns of Conv2D"),
        (newer_graph, r"graphs of version 9000 \(it reads up to 2288\)"),
    ],
)
def test_missing_operators_and_attributes_are_named(saved_model, change, problem):
    with pytest.raises(ValueError, match=problem):
        operators.check(saved_model(change))


def test_what_only_the_newest_release_lacks_is_an_error_too(saved_model, monkeypatch):
    whole = operators.known_operators
    gone = {"2.20.0": (), "2.21.0": ("Conv2D",)}

    def known(release):
        consumer, listed = whole(release)
        return consumer, {name: attributes for name, attributes in listed.items() if name not in gone[release]}

    monkeypatch.setattr(operators, "known_operators", known)
    with pytest.raises(ValueError, match="TF Serving 2.21.0 cannot .* operator Conv2D. Export with TensorFlow 2.21,"):
        operators.check(saved_model(lambda *parts: None))


@pytest.mark.parametrize("release", operators.RELEASES)
def test_the_lists_are_complete(release):
    consumer, known = operators.known_operators(release)
    assert consumer <= tf.version.GRAPH_DEF_VERSION
    assert len(known) > 1500 and "strides" in known["Conv2D"] and known["NoOp"] == frozenset()
    assert ("DecodeJxl" in known) == (release == "2.21.0")
