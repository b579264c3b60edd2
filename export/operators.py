"""The operators of a SavedModel, held against the TF Serving release that runs it.

TF Serving follows TensorFlow by months. A graph runs on an older TensorFlow if that one knows all its operators and
their attributes (those at their defaults are left out when a SavedModel is written), and is not older than the graph's
min_consumer. What TF Serving's release knows lies in data/, written by tests/export/serving_release.py.
"""

import functools
import gzip
from importlib import resources
from pathlib import Path

SERVING = "2.20.0"  # the newest image of tensorflow/serving, and the TensorFlow in it
KNOWN = f"data/tensorflow_{SERVING}_operators.txt.gz"


def graph_report(saved_model):
    """What a report says of the graph in a SavedModel's folder: versions, and the names of its operators."""
    meta_graph = _meta_graph(saved_model)
    versions = meta_graph.graph_def.versions
    return {
        "tensorflow": meta_graph.meta_info_def.tensorflow_version,
        "producer": versions.producer,
        "min_consumer": versions.min_consumer,
        "operators": sorted({node.op for node in _nodes(meta_graph.graph_def)}),
        "checked_for_tensorflow_serving": SERVING,
    }


def check(saved_model):
    """Raise ValueError naming what TF Serving's release lacks to run the SavedModel in a folder."""
    graph = _meta_graph(saved_model).graph_def
    consumer, known = known_operators()
    own = {function.signature.name for function in graph.library.function}
    lacking = {problem for node in _nodes(graph) if node.op not in own and (problem := _lacking(node, known))}
    if graph.versions.min_consumer > consumer:
        lacking.add(f"graphs of version {graph.versions.min_consumer} (it reads up to {consumer})")
    if lacking:
        raise ValueError(
            f"TF Serving {SERVING} cannot run this model, and it is not kept. It lacks {', '.join(sorted(lacking))}. "
            f"Export with TensorFlow {SERVING.rpartition('.')[0]}, or leave out the layer that needs it."
        )


@functools.cache
def known_operators():
    """(version of the graphs, {operator: its attributes}) that TF Serving's release knows."""
    packed = resources.files("keras_vit.export").joinpath(KNOWN).read_bytes()
    (_, consumer), *lines = (line.split() for line in gzip.decompress(packed).decode().splitlines())
    return int(consumer), {name: frozenset(attributes) for name, *attributes in lines}


def _lacking(node, known):
    """The operator or attribute of a node that is not known, else None; names with an underscore are annotations."""
    if node.op not in known:
        return f"the operator {node.op}"
    unknown = sorted(name for name in node.attr if not name.startswith("_") and name not in known[node.op])
    return f"the attribute {unknown[0]} of {node.op}" if unknown else None


def _meta_graph(saved_model):
    from tensorflow.core.protobuf import saved_model_pb2

    content = Path(saved_model, "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]


def _nodes(graph):
    """All nodes: of the graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
