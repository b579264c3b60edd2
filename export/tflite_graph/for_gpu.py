"""Rewrites of a float file's graph into one that LiteRT's GPU delegate takes whole, with the same outputs but for
rounding. `export.edge.gpu` has the delegate's rules and their sources.

The delegate holds a tensor as batch, height, width and channels: of rank 3 the rows are the width, of rank 2 the batch.
So rows of tokens are kept in rank 3 here. RESHAPEs that the rewrites bring are merged or removed where they can be.
"""

import numpy as np

ENDS = ("begin", "size")  # of a SLICE
WIDE = 4  # the rank that constants of concatenations need
UNARY = ("EXP", "GELU", "LOG", "LOGISTIC", "NEG", "RELU", "RSQRT", "SQRT", "TANH")
BINARY = ("ADD", "DIV", "MAXIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB")


def rewrite(graph):
    """All rewrites that need no measured values."""
    for one in (dense_layers, splits, concatenations, products, paddings, ranks_of_operands, reshapes):
        one(graph)
    graph.remove_unused()


def dense_layers(graph):
    """Let dense layers take and give rows of rank 3, (1, N, C).

    The converter lets many of them give (N, C), whatever they take. The delegate computes such a layer as a convolution
    of the rows in the width, and reads them from the batch afterwards.
    """
    for operator in graph.of_kinds(("FULLY_CONNECTED",)):
        source, output = int(operator.inputs[0]), int(operator.outputs[0])
        taken, given = graph.shape(source), graph.shape(output)
        rows = int(np.prod(given[:-1]))
        if rows == 1 or (len(taken) > 2 and taken[:-1] == given[:-1]):
            continue
        if taken != (1, rows, taken[-1]):
            graph.give(operator, 0, graph.add_reshape(operator, source, (1, rows, taken[-1])))
        operator.builtinOptions.keepNumDims = True
        _give_shape(graph, operator, (1, rows, given[-1]))


def splits(graph):
    """Replace SPLIT by a SLICE per part: the axis that the converter writes for it has rank 0, and must have rank 1.

    Slices have rank 3 at least.
    """
    for operator in graph.of_kinds(("SPLIT",)):
        source = int(operator.inputs[1])
        shape, before = graph.shape(source), max(3 - len(graph.shape(source)), 0)
        axis = int(graph.constant(int(operator.inputs[0]))) % len(shape) + before
        source = graph.add_reshape(operator, source, (*[1] * before, *shape)) if before else source
        begin = np.zeros(len(shape) + before, "int32")
        for output in map(int, operator.outputs):
            given = graph.shape(output)
            size = np.array([*[1] * before, *given], "int32")
            ends = (graph.add_constant(f"{graph.name(output)}/{name}", one) for name, one in zip(ENDS, (begin, size)))
            part = graph.add_operator(operator, "SLICE", [source, *ends], tuple(size), "Slice")
            graph.replace(output, graph.add_reshape(operator, part, given) if before else part)
            begin = begin.copy()
            begin[axis] += size[axis]


def concatenations(graph):
    """Let a concatenation with a constant, as of a class token, have rank 4: a constant of another is not read."""
    for operator in graph.of_kinds(("CONCATENATION",)):
        constants = [place for place, one in enumerate(operator.inputs) if graph.constant(int(one)) is not None]
        given = graph.shape(operator.outputs[0])
        if not constants or len(given) == WIDE:
            continue
        axis = operator.builtinOptions.axis % len(given)
        operator.builtinOptions.axis = axis + WIDE - len(given) if axis else 0
        for place, tensor in enumerate(map(int, operator.inputs)):
            wide = _wide(graph.shape(tensor))
            if place in constants:
                graph.set_constant(operator, place, graph.constant(tensor).reshape(wide))
            else:
                graph.give(operator, place, graph.add_reshape(operator, tensor, wide))
        _give_shape(graph, operator, _wide(given))


def products(graph):
    """Transpose factors of BATCH_MATMUL by an operator: the delegate ignores that they are to be transposed.

    A constant matrix in front becomes a dense layer of the transposed other factor: A x = (x^T A^T)^T.
    """
    for operator in graph.of_kinds(("BATCH_MATMUL",)):
        for place, option in enumerate(("adjX", "adjY")):
            if not getattr(operator.builtinOptions, option):
                continue
            factor = int(operator.inputs[place])
            if graph.constant(factor) is None:
                graph.give(operator, place, _transposed(graph, operator, factor))
            else:
                graph.set_constant(operator, place, np.swapaxes(graph.constant(factor), -1, -2))
            setattr(operator.builtinOptions, option, False)
        matrix, other = map(int, operator.inputs)
        if graph.constant(matrix) is not None and len(graph.shape(matrix)) == 2:
            turned = _transposed(graph, operator, other)
            shape = (*graph.shape(turned)[:-1], graph.shape(matrix)[0])
            dense = graph.add_operator(
                operator, "FULLY_CONNECTED", [turned, matrix, -1], shape, "FullyConnected", keepNumDims=True
            )
            graph.replace(int(operator.outputs[0]), _transposed(graph, operator, dense))


def _transposed(graph, before, tensor):
    """A tensor with its last two axes exchanged, by an operator."""
    shape = graph.shape(tensor)
    order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    values = graph.add_constant(f"{graph.name(tensor)}/order", np.array(order, "int32"))
    turned = tuple(shape[axis] for axis in order)
    return graph.add_operator(before, "TRANSPOSE", [tensor, values], turned, "Transpose")


def paddings(graph):
    """Pad in rank 4: of rank 3 the delegate reads the paddings as height, width and channels, and pads the batch."""
    for operator in graph.of_kinds(("PAD",)):
        source = int(operator.inputs[0])
        shape, given = graph.shape(source), graph.shape(operator.outputs[0])
        if not 1 < len(shape) < WIDE:
            continue
        added = graph.constant(int(operator.inputs[1])).astype("int32")
        none = np.zeros((WIDE - len(shape), 2), "int32")
        graph.give(operator, 0, graph.add_reshape(operator, source, _wide(shape)))
        graph.set_constant(operator, 1, np.concatenate([added[:1], none, added[1:]]))
        _give_shape(graph, operator, _wide(given))


def ranks_of_operands(graph):
    """Give both operands of a sum or a product the same rank: (1, N, C) and (N, C) have their rows in two places."""
    for operator in graph.of_kinds(BINARY):
        computed = [place for place, one in enumerate(operator.inputs) if graph.constant(int(one)) is None]
        ranks = [len(graph.shape(one)) for one in operator.inputs]
        for place in computed if len(computed) == 2 else ():
            if ranks[place] < max(ranks):
                tensor = int(operator.inputs[place])
                shape = (*[1] * (max(ranks) - ranks[place]), *graph.shape(tensor))
                graph.give(operator, place, graph.add_reshape(operator, tensor, shape))


def reshapes(graph):
    """Merge RESHAPEs behind each other, remove those that change nothing, and move others behind activations."""
    moved = True
    while moved:
        moved = False
        for operator in graph.of_kinds(("RESHAPE",)):
            while _made_by_reshape(graph, operator):
                graph.give(operator, 0, int(graph.producer(int(operator.inputs[0])).inputs[0]))
            source, output = int(operator.inputs[0]), int(operator.outputs[0])
            if graph.shape(source) == graph.shape(output) and output not in map(int, graph.main.outputs):
                graph.replace(output, source)
            moved |= _move_behind(graph, operator)
        graph.remove_unused()


def _made_by_reshape(graph, operator):
    before = graph.producer(int(operator.inputs[0]))
    return before is not None and graph.kind(before) == "RESHAPE"


def _move_behind(graph, operator):
    """Move a RESHAPE behind the activation that alone takes what it gives; returns whether it was."""
    output = int(operator.outputs[0])
    takers = graph.consumers(output)
    if len(takers) != 1 or graph.kind(takers[0][0]) not in UNARY or output in map(int, graph.main.outputs):
        return False
    activation, shape = takers[0][0], graph.shape(output)
    graph.give(activation, 0, int(operator.inputs[0]))
    _give_shape(graph, activation, graph.shape(operator.inputs[0]), shape)
    return True


def _give_shape(graph, operator, shape, before=None):
    """Let an operator give another shape, with a RESHAPE behind it that gives the one from before."""
    output = int(operator.outputs[0])
    before = before or graph.shape(output)
    graph.set_shape(output, shape)
    reshaped = graph.add_reshape(graph.following(operator), output, before)
    graph.replace(output, reshaped)
    graph.give(graph.producer(reshaped), 0, output)  # itself takes the output


def _wide(shape):
    """The same numbers in rank 4, the first side in the batch."""
    return (*shape[:1], *[1] * (WIDE - len(shape)), *shape[1:])
