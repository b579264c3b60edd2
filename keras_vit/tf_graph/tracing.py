"""From a model or function to a `Graph`: TensorFlow's tracing, and variables as constants."""

from keras_vit.system.graphs import without_autograph
from keras_vit.tf_graph.graph import Graph
from keras_vit.tf_graph.shapes import know_shapes

INPUT = "images"
LIMIT = 2**31 - 2**24  # bytes of a graph's constants: protocol buffers end at 2 GiB


class NoInferenceForm(ValueError):
    """A function that cannot be a graph without variables."""


@without_autograph
def trace(model, shape):
    """The `Graph` of a model for images of a shape, with the values of its variables.

    Args:
        model, shape: as `keras_vit.tf_graph.inference_form.inference_form` takes them.

    Raises:
        NoInferenceForm: as there.
    """
    graph = Graph(*_traced(model, shape))
    graph.free_names()
    graph.merge_equal()
    know_shapes(graph)
    return graph


def check_size(size):
    """Raise `NoInferenceForm` for constants of so many bytes, if no graph can hold them."""
    if size >= LIMIT:
        raise NoInferenceForm(
            f"A graph's constants must stay below 2 GiB. Received: {size / 2**30:.1f} GiB of weights."
        )


def _traced(model, shape):
    """What a `Graph` is made of: GraphDef, name of the input, {output: tensor}, {operator: values of a variable}."""
    import keras
    import tensorflow as tf

    def compute(images):
        found = model(images, training=False) if isinstance(model, keras.Model) else model(images)
        return found if isinstance(found, dict) else _named(tf.nest.flatten(found))

    images = tf.TensorSpec([None, *shape], tf.float32, name=INPUT)
    concrete = tf.function(compute, autograph=False).get_concrete_function(images)
    names = sorted(concrete.structured_outputs)  # the order of a function's outputs
    if INPUT in names:
        raise ValueError(
            f"No output can be called {INPUT!r}, as the input is. Received the outputs {names}; rename it."
        )
    definition, variables = concrete.graph.as_graph_def(), {id(one.handle): one for one in concrete.variables}
    if _reads_alone(concrete, definition, variables):
        values = {
            inner.op.name: (variables[id(outer)] if inner.dtype == tf.resource else outer).numpy()
            for outer, inner in concrete.graph.captures
        }
        for node in definition.node:
            node.op = "Identity" if node.op == "ReadVariableOp" else node.op
    else:
        concrete, values = _frozen(concrete), {}
        definition = concrete.graph.as_graph_def()
    outputs = {name: tensor.name for name, tensor in zip(names, concrete.outputs)}
    return definition, concrete.inputs[0].op.name, outputs, values


def _reads_alone(concrete, definition, variables):
    """Whether the graph calls nothing and only reads variables: their values can then be put in as they are.

    TensorFlow's own conversion also does the rest, but takes 20 s and 3 GiB for the 0.3 GiB of ViTB16.
    """
    resources = {inner.name: outer for outer, inner in concrete.graph.captures if inner.dtype.name == "resource"}
    readers = {
        operation.type
        for operation in concrete.graph.get_operations()
        for one in operation.inputs
        if one.name in resources
    }
    known = all(id(outer) in variables for outer in resources.values())
    return known and readers <= {"ReadVariableOp"} and not definition.library.function


def _named(tensors):
    return dict(zip(["output"] if len(tensors) == 1 else (f"output_{i}" for i in range(len(tensors))), tensors))


def _frozen(concrete):
    """The function with its variables as constants and without calls, by TensorFlow's own conversion."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    check_size(sum(values.dtype.size * values.shape.num_elements() for values in concrete.variables))
    frozen = convert_variables_to_constants_v2(concrete)
    if len(frozen.inputs) > 1:
        kept = ", ".join(tensor.name for tensor in frozen.inputs[1:])
        raise NoInferenceForm(f"The function takes more than images and variables, as look-ups in tables do: {kept}.")
    return frozen
