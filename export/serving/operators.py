"""Checks the operators of a SavedModel against those of the TF Serving releases that may run it.

TF Serving's releases follow TensorFlow's by months. A graph runs on an older TensorFlow if that has all its operators
and attributes (those at their defaults are not in a SavedModel), and is not older than the graph's min_consumer.
data/ has the operators of the TensorFlow in each release, written by tests/export/serving_release.py.
"""

import functools
import gzip
from importlib import resources
from pathlib import Path

SERVING = "2.20.0"  # the newest image of tensorflow/serving (2026-08; its sources were then being made ready for 2.21)
RELEASES = (SERVING, "2.21.0")  # each has the TensorFlow of the same number


def graph_report(saved_model):
    """A report's entry on the graph of a SavedModel: versions, and the names of its operators."""
    meta_graph = _meta_graph(saved_model)
    versions = meta_graph.graph_def.versions
    return {
        "tensorflow": meta_graph.meta_info_def.tensorflow_version,
        "producer": versions.producer,
        "min_consumer": versions.min_consumer,
        "operators": sorted({node.op for node in _nodes(meta_graph.graph_def)}),
        "checked_for_tensorflow_serving": list(RELEASES),
    }


def check(saved_model):
    """Check that each of RELEASES can run the SavedModel in a folder.

    Raises:
        ValueError: if one cannot, naming the operators and attributes that it lacks.
    """
    graph = _meta_graph(saved_model).graph_def
    own = {function.signature.name for function in graph.library.function}
    for release in RELEASES:
        consumer, known = known_operators(release)
        lacking = {problem for node in _nodes(graph) if node.op not in own and (problem := _lacking(node, known))}
        if graph.versions.min_consumer > consumer:
            lacking.add(f"graphs of version {graph.versions.min_consumer} (it reads up to {consumer})")
        if lacking:
            raise ValueError(
                f"TF Serving {release} cannot run this model, so it is not kept. It lacks "
                f"{', '.join(sorted(lacking))}. Export with TensorFlow {release.rpartition('.')[0]}, or replace the "
                "layer that needs it."
            )


@functools.cache
def known_operators(release):
    """(version of graphs, {operator: its attributes}) of a release of TF Serving."""
    file = f"data/tensorflow_{release}_operators.txt.gz"
    packed = resources.files("keras_vit.export.serving").joinpath(file).read_bytes()
    (_, consumer), *lines = (line.split() for line in gzip.decompress(packed).decode().splitlines())
    return int(consumer), {name: frozenset(attributes) for name, *attributes in lines}


def _lacking(node, known):
    """The unknown operator or attribute of a node, else None; names with a leading underscore are annotations."""
    if node.op not in known:
        return f"the operator {node.op}"
    unknown = sorted(name for name in node.attr if not name.startswith("_") and name not in known[node.op])
    return f"the attribute {unknown[0]} of {node.op}" if unknown else None


def _meta_graph(saved_model):
    from tensorflow.core.protobuf import saved_model_pb2

    content = Path(saved_model, "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]


def _nodes(graph):
    """All nodes of the graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
