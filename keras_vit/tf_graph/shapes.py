"""The shapes of a graph's tensors, found by TensorFlow for a batch of known size; reshapes that need no others."""

import numpy as np

from keras_vit.tf_graph.graph import BATCH

OTHER_BATCH = 5  # what is alike in both batches does not depend on the batch


def measure(graph, batch=BATCH):
    """{tensor: its shape} for a batch of so many images; the graph then knows types and which operators have a state.

    Tensors whose rank is not known are left out.
    """
    import tensorflow as tf

    weights = {tensor for tensor, values in graph.constants.items() if values.dtype.kind == "f" and values.ndim}
    found = {}
    with tf.Graph().as_default() as made:  # without the values of weights, which no shape depends on
        tf.graph_util.import_graph_def(graph.graph_def(weights, batch), name="")
    for operation in made.get_operations():
        if operation.op_def.is_stateful and operation.type != "Placeholder":
            graph.stateful.add(operation.name)
        for tensor in operation.outputs:
            graph.dtypes[tensor.name] = tensor.dtype.name
            if tensor.shape.rank is not None:
                found[tensor.name] = tuple(tensor.shape.as_list())
    return found


def know_shapes(graph):
    """Let the graph know the shapes of its tensors, and let reshapes take constant shapes where only B is free."""
    graph.shapes, graph.others = (_known(measure(graph, batch)) for batch in (BATCH, OTHER_BATCH))
    for operator in graph.operators:
        if operator.kind == "Reshape":
            shapes = graph.shape(operator.output), graph.others.get(operator.output)
            if None not in shapes:
                _make_static(graph, operator, *shapes)
    graph.remove_unused()


def _known(shapes):
    return {tensor: shape for tensor, shape in shapes.items() if None not in shape}


def _make_static(graph, operator, shape, other):
    """Let a reshape take a constant, with -1 for the one side that depends on the batch."""
    static = [side if side == there else -1 for side, there in zip(shape, other)]
    if static.count(-1) <= 1:
        operator.attributes["Tshape"].CopyFrom(_int32())
        graph.give(operator, 1, graph.add_constant(f"{operator.name}/shape", np.array(static, "int32")))


def remove_idle(graph):
    """Remove reshapes and transpositions that change nothing, and the first of two reshapes.

    Args:
        graph: a `Graph`, which is changed.
    """
    for operator in graph.operators:
        if operator.kind == "Transpose" and _keeps_axes(graph.constant(operator.inputs[1])):
            graph.remove(operator)
        elif operator.kind == "Reshape" and graph.constant(operator.inputs[1]) is not None:
            before = graph.producer(operator.inputs[0])
            if before is not None and before.kind == "Reshape":
                graph.give(operator, 0, before.inputs[0])
            source = operator.inputs[0]
            shapes = [(of.get(source), of.get(operator.output)) for of in (graph.shapes, graph.others)]
            if all(one is not None and one == other for one, other in shapes):
                graph.remove(operator)
    graph.remove_unused()


def _keeps_axes(order):
    return order is not None and (order == np.arange(len(order))).all()


def _int32():
    import tensorflow as tf

    return tf.compat.v1.AttrValue(type=tf.int32.as_datatype_enum)
