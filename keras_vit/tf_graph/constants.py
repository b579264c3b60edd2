"""What does not depend on the input, computed once: every constant that the rest of the graph takes becomes its value.

Standardised kernels, gathered biases with their masks, resampled tables of positions. TensorFlow computes them as it
would in every pass, so the values are the same.
"""

GROWTH = 0.25  # of the constants' bytes, by which all of them may grow
FREE = 2**20  # bytes, by which they may grow in any case


def fold_constants(graph):
    """Compute what depends on constants alone, unless the constants would grow out of proportion.

    Swin's masks repeat its biases for every window, and a table of positions may be repeated for every image of a
    batch: the largest of these stay computed, until the rest fits.

    Args:
        graph: a `Graph`, which is changed.
    """
    kept, before = set(), graph.size()
    while True:
        found = _independent(graph, kept)
        wanted = _taken_by_others(graph, found)
        added = {tensor: _bytes(graph, tensor) for tensor in wanted}
        if not added or sum(added.values()) - _freed(graph, found) <= before * GROWTH + FREE:
            break
        kept.add(graph.producer(max(added, key=added.get)).name)
    if wanted:
        values = _computed(graph, wanted)
        for tensor, value in zip(wanted, values):
            graph.replace(tensor, graph.add_constant(f"{tensor.partition(':')[0]}/value", value))
        graph.remove_unused()


def _independent(graph, kept):
    """Names of the operators that depend on constants alone, but for those `kept`."""
    found = set()
    for operator in graph.operators:
        usable = operator.name not in graph.stateful | kept and operator.output != graph.input
        known = all(_is_known(graph, tensor, found) for tensor in operator.inputs)
        if usable and known and not operator.after and graph.shape(operator.output) is not None:
            found.add(operator.name)
    return found


def _is_known(graph, tensor, found):
    return graph.constant(tensor) is not None or tensor.partition(":")[0] in found


def _taken_by_others(graph, found):
    """The tensors of operators `found` that others take, in order."""
    taken = [tensor for operator in graph.operators if operator.name not in found for tensor in operator.inputs]
    return [tensor for tensor in dict.fromkeys([*taken, *graph.outputs.values()]) if tensor.partition(":")[0] in found]


def _bytes(graph, tensor):
    import numpy as np

    shape = graph.shape(tensor)
    return int(np.prod(shape)) * (8 if graph.dtype(tensor) in ("int64", "float64") else 4) if shape is not None else 0


def _freed(graph, found):
    """Bytes of the constants that nothing else takes."""
    freed = 0
    for tensor, values in graph.constants.items():
        takers = graph.consumers(tensor)
        if takers and all(operator is not None and operator.name in found for operator, _ in takers):
            freed += values.nbytes
    return freed


def _computed(graph, tensors):
    """The values of tensors that depend on constants alone, on the CPU."""
    import tensorflow as tf

    outputs = graph.outputs
    graph.outputs = dict(zip((f"values/{number}" for number in range(len(tensors))), tensors))
    try:
        part = graph.graph_def(set(graph.constants))
    finally:
        names, graph.outputs = list(graph.outputs), outputs
    with tf.Graph().as_default() as made:
        tf.graph_util.import_graph_def(part, name="")
        present = {node.name for node in part.node}
        fed = {tensor: value for tensor, value in graph.constants.items() if tensor.partition(":")[0] in present}
        without_gpu = tf.compat.v1.ConfigProto(device_count={"GPU": 0})
        with tf.compat.v1.Session(graph=made, config=without_gpu) as session:
            return session.run([f"{name}:0" for name in names], fed)
