"""Operators in the order in which TensorFlow fuses them."""

from keras_vit.tf_graph.products import products


def biases_beside_products(graph):
    """Add biases to products before these are reshaped: TensorFlow fuses a bias that stands beside its product.

    Keras multiplies (B, N, C) tensors as matrices (B N, C), and adds the bias to what is reshaped.
    """
    for product in products(graph):
        given = product.operator.output
        if not graph.is_taken_once(given):
            continue
        ((reshape, place),) = graph.consumers(given)
        if reshape.kind != "Reshape" or place or not graph.is_taken_once(reshape.output):
            continue
        ((bias, _),) = graph.consumers(reshape.output)
        shape = graph.shape(reshape.output)
        if bias.kind != "BiasAdd" or shape is None or shape[-1] != product.outputs:
            continue
        if graph.constant(bias.inputs[1]) is None or graph.shape(given) is None:
            continue
        added = graph.add_operator(bias.name, "BiasAdd", [given, bias.inputs[1]], graph.shape(given))
        graph.give(reshape, 0, added)
        graph.replace(bias.output, reshape.output)
    graph.remove_unused()


def gelu_by_erf(graph):
    """erfc(-x) as 1 + erf(x): TensorFlow fuses x / 2 (1 + erf(x / sqrt 2)) with the product before it, and other
    formats have no erfc.
    """
    for operator in graph.operators:
        if operator.kind != "Erfc" or graph.dtype(operator.output) != "float32":
            continue
        scaled = graph.producer(operator.inputs[0])
        for place in (0, 1) if scaled is not None and scaled.kind == "Mul" else ():
            negative, other = graph.producer(scaled.inputs[place]), scaled.inputs[1 - place]
            if negative is not None and negative.kind == "Neg" and graph.constant(other) is not None:
                _by_erf(graph, operator, negative.inputs[0], other)
                break
    graph.remove_unused()


def _by_erf(graph, operator, x, factor):
    import numpy as np

    name, shape = operator.name, graph.shape(x)
    scaled = graph.add_operator(f"{name}/scaled", "Mul", [x, factor], shape)
    erf = graph.add_operator(f"{name}/erf", "Erf", [scaled], shape)
    one = graph.add_constant(f"{name}/one", np.float32(1))
    graph.replace(operator.output, graph.add_operator(f"{name}/plus_one", "AddV2", [erf, one], shape))
