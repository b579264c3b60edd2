"""The graph of a TensorFlow function without variables, to be looked through and changed.

Words as in `keras_vit.export.tflite_graph`: operators compute tensors from tensors and constants. Tensors are known by
TensorFlow's names ("block0/attn/split:1").
"""

import numpy as np

PASSED_ON = ("Identity", "StopGradient", "PreventGradient")  # give what they take
SMALL = 1024  # bytes; equal constants up to this size become one
BATCH = 2  # images in the batch of which the graph states its shapes


class Operator:
    """A node of the graph that is no constant.

    Args:
        name: unlike all others.
        kind: TensorFlow's name of the operator, e.g. "MatMul".
        inputs: names of tensors.
        attributes: {name: AttrValue}.
        after: names of operators that run before it, though it takes nothing from them.
    """

    def __init__(self, name, kind, inputs, attributes, after=()):
        self.name, self.kind, self.inputs, self.attributes, self.after = name, kind, inputs, attributes, after

    @property
    def output(self):
        """Its first tensor; most have one."""
        return f"{self.name}:0"

    def attribute(self, name):
        """An attribute that is a number, text or bool."""
        value = self.attributes[name]
        found = getattr(value, value.WhichOneof("value"))
        return found.decode() if isinstance(found, bytes) else found


class Graph:
    """A graph of one input.

    `shapes`, `others`, `dtypes` and `stateful` are found by `keras_vit.tf_graph.shapes`: the shapes of tensors for
    batches of two sizes, their types, and the names of operators that do more than compute.

    Args:
        graph_def: a GraphDef, without functions that are called.
        input: name of the operator that is its input, a Placeholder of shape (None, ...).
        outputs: {name: tensor}.
        constants: {name of an operator: array}, those whose values are known besides the graph's own constants.
    """

    def __init__(self, graph_def, input, outputs, constants):
        self.input, self.library, self.versions = f"{input}:0", graph_def.library, graph_def.versions
        self.constants = {f"{name}:0": value for name, value in constants.items()}
        self._operators, same = {}, {}
        for node in graph_def.node:
            inputs = [_tensor(name) for name in node.input if name[0] != "^"]
            if node.op == "Const":
                self.constants[f"{node.name}:0"] = _values(node)
            elif node.op in PASSED_ON and f"{node.name}:0" not in self.constants:
                same[f"{node.name}:0"] = inputs[0]
            elif node.op != "NoOp" and f"{node.name}:0" not in self.constants:
                after = [name[1:] for name in node.input if name[0] == "^"]
                self._operators[node.name] = Operator(node.name, node.op, inputs, dict(node.attr), after)
        for operator in self._operators.values():
            operator.inputs = [_origin(name, same) for name in operator.inputs]
        self.outputs = {name: _origin(tensor, same) for name, tensor in outputs.items()}
        self.shapes, self.others, self.dtypes, self.stateful = {}, {}, {}, set()
        self._index()

    @property
    def operators(self):
        """All operators, in an order in which they can be computed; later changes are not in the list."""
        placed, done, waiting = [], set(), [(name, False) for name in reversed(self._operators)]
        while waiting:
            name, ready = waiting.pop()
            if name in done:
                continue
            operator = self._operators[name]
            before = [_name(one) for one in operator.inputs] + list(operator.after)
            before = [] if ready else [one for one in before if one in self._operators and one not in done]
            if before:
                waiting += [(name, True), *((one, False) for one in reversed(before))]
            else:
                done.add(name)
                placed.append(operator)
        return placed

    def kinds(self):
        """{name of a kind: how many operators are of it}."""
        found = [operator.kind for operator in self._operators.values()]
        return {kind: found.count(kind) for kind in sorted(set(found))}

    def shape(self, tensor):
        """The shape of a tensor for a batch of BATCH images; None if it is not known."""
        return self.constants[tensor].shape if tensor in self.constants else self.shapes.get(tensor)

    def dtype(self, tensor):
        """The type of a tensor's values, e.g. "float32"."""
        return str(self.constants[tensor].dtype) if tensor in self.constants else self.dtypes.get(tensor)

    def constant(self, tensor):
        """The values of a constant; None of a tensor that is computed."""
        return self.constants.get(tensor)

    def producer(self, tensor):
        """The operator that computes a tensor; None of constants."""
        return self._operators.get(_name(tensor))

    def consumers(self, tensor):
        """(operator, place among its inputs) of all that take a tensor; (None, name) where it is an output."""
        own = [(None, name) for name, output in self.outputs.items() if output == tensor]
        return [*self._consumers.get(tensor, {}), *own]

    def is_taken_once(self, tensor):
        """Whether one operator takes a tensor, once, and it is no output."""
        return len(self.consumers(tensor)) == 1 and self.consumers(tensor)[0][0] is not None

    def add_constant(self, name, values):
        """Add values that an operator can be given; returns the tensor's name."""
        tensor = f"{self._unused(name)}:0"
        self.constants[tensor] = np.asarray(values)
        return tensor

    def add_operator(self, name, kind, inputs, shape, **attributes):
        """Insert an operator that computes one tensor of the type of its first input.

        Args:
            name: roughly; a number is added where another operator has it.
            kind: TensorFlow's name of the operator.
            inputs: names of tensors.
            shape: of its output, for a batch of BATCH images.
            **attributes: those besides "T", the type; types as NumPy's names ("int32").

        Returns:
            The name of its output.
        """
        name = self._unused(name)
        types = {"T": self.dtype(inputs[0])} | attributes
        self._operators[name] = made = Operator(name, kind, list(inputs), {n: _attribute(v) for n, v in types.items()})
        self.shapes[made.output], self.dtypes[made.output] = tuple(shape), types["T"]
        for place, tensor in enumerate(inputs):
            self._consumers.setdefault(tensor, {})[made, place] = None
        return made.output

    def give(self, operator, place, tensor):
        """Let an operator take a tensor at a place among its inputs."""
        self._consumers[operator.inputs[place]].pop((operator, place))
        operator.inputs[place] = tensor
        self._consumers.setdefault(tensor, {})[operator, place] = None

    def replace(self, old, new, but=None):
        """Let everything that takes a tensor, and the outputs, take another; except the operator that makes `but`."""
        kept = but and self.producer(but)
        for operator, place in self.consumers(old):
            if operator is None:
                self.outputs[place] = new
            elif operator is not kept:
                self.give(operator, place, new)

    def remove(self, operator, place=0):
        """Remove an operator that computes one tensor: what takes that takes the operator's input at `place`."""
        self.replace(operator.output, operator.inputs[place])
        for number, tensor in enumerate(operator.inputs):
            self._consumers[tensor].pop((operator, number))
        del self._operators[operator.name]

    def set_constant(self, operator, place, values):
        """Let an operator take other values at a place where it has a constant; others that share it keep theirs."""
        name = _name(operator.inputs[place])
        self.give(operator, place, self.add_constant(name, np.asarray(values, self.dtype(operator.inputs[place]))))

    def remove_unused(self):
        """Remove the operators and constants of which nothing is taken."""
        needed = self._needed()
        self._operators = kept = {name: one for name, one in self._operators.items() if name in needed}
        self.constants = {name: value for name, value in self.constants.items() if _name(name) in needed}
        for operator in kept.values():
            operator.after = [name for name in operator.after if name in kept and name in self.stateful]
        self._index()

    def _needed(self):
        """Names of the operators and constants that the outputs depend on, and of the input."""
        needed, waiting = set(), [_name(tensor) for tensor in (self.input, *self.outputs.values())]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                found = self._operators.get(name)
                waiting += [_name(one) for one in found.inputs] + list(found.after) if found else []
        return needed

    def merge_equal(self):
        """Let operators that compute the same be one, and small constants of the same values."""
        seen, twins = {}, {}  # name: that of the equal one
        for tensor, value in self.constants.items():
            if value.nbytes <= SMALL and value.dtype != object:
                first = seen.setdefault((str(value.dtype), value.shape, value.tobytes()), tensor)
                twins[_name(tensor)] = _name(first)
        for operator in self.operators:
            operator.inputs = [_renamed(tensor, twins) for tensor in operator.inputs]
            if operator.name in self.stateful or operator.output == self.input:
                continue
            attributes = sorted((n, v.SerializeToString()) for n, v in operator.attributes.items() if n[0] != "_")
            key = (operator.kind, *operator.inputs, *operator.after, *attributes)
            twins[operator.name] = seen.setdefault(key, operator.name)
        self.outputs = {name: _renamed(tensor, twins) for name, tensor in self.outputs.items()}
        self._index()
        self.remove_unused()

    def size(self):
        """Bytes of the constants."""
        return sum(value.nbytes for value in self.constants.values())

    def graph_def(self, fed=(), batch=None):
        """A GraphDef of what is used, whose outputs are operators of their names.

        Args:
            fed: constants that are Placeholders of their shape instead, to be fed or mapped.
            batch: number of images that its input takes; default any.
        """
        import tensorflow as tf

        made, needed = tf.compat.v1.GraphDef(), self._needed()
        made.versions.CopyFrom(self.versions)
        made.library.CopyFrom(self.library)
        for tensor, values in self.constants.items():
            if _name(tensor) in needed:
                _add_constant(made.node.add(), tensor, values, tensor in fed)
        for operator in self.operators:
            if operator.name not in needed:
                continue
            node = made.node.add(name=operator.name, op=operator.kind)
            node.input.extend([*operator.inputs, *(f"^{name}" for name in operator.after)])
            for name, value in operator.attributes.items():
                node.attr[name].CopyFrom(value)
            if operator.output == self.input and batch:
                node.attr["shape"].shape.dim[0].size = batch
        known = {name: tensor for name, tensor in self.outputs.items() if self.dtype(tensor)}  # none are at first
        for name, tensor in known.items():
            node = made.node.add(name=name, op="Identity", input=[tensor])
            node.attr["T"].CopyFrom(_attribute(self.dtype(tensor)))
        return made

    def free_names(self):
        """Rename operators and constants that are called as outputs are."""
        taken = {name: self._unused(f"{name}/inner") for name in self.outputs if self._is_used(name)}

        def new(tensors):
            return {_renamed(tensor, taken): value for tensor, value in tensors.items()}

        for operator in self._operators.values():
            operator.name = taken.get(operator.name, operator.name)
            operator.inputs = [_renamed(tensor, taken) for tensor in operator.inputs]
            operator.after = [taken.get(name, name) for name in operator.after]
        self._operators = {operator.name: operator for operator in self._operators.values()}
        self.constants, self.shapes, self.dtypes = new(self.constants), new(self.shapes), new(self.dtypes)
        self.outputs = {name: _renamed(tensor, taken) for name, tensor in self.outputs.items()}
        self.stateful = {taken.get(name, name) for name in self.stateful}
        self.input = _renamed(self.input, taken)
        self._index()

    def _index(self):
        self._consumers = {}
        for operator in self._operators.values():
            for place, tensor in enumerate(operator.inputs):
                self._consumers.setdefault(tensor, {})[operator, place] = None

    def _is_used(self, name):
        return name in self._operators or f"{name}:0" in self.constants

    def _unused(self, name):
        number, found = 1, name
        while self._is_used(found) or found in self.outputs:
            found, number = f"{name}_{number}", number + 1
        return found


def _tensor(name):
    return name if ":" in name else f"{name}:0"


def _name(tensor):
    return tensor.partition(":")[0]


def _renamed(tensor, names):
    """The tensor of the same number of another operator, if `names` has one for its own."""
    name, _, number = tensor.partition(":")
    return f"{names.get(name, name)}:{number}"


def _origin(tensor, same):
    while tensor in same:
        tensor = same[tensor]
    return tensor


def _values(node):
    from tensorflow import make_ndarray

    return make_ndarray(node.attr["value"].tensor)


def _add_constant(node, tensor, values, fed):
    import tensorflow as tf

    node.name, node.op = _name(tensor), "Placeholder" if fed else "Const"
    node.attr["dtype"].type = tf.as_dtype(values.dtype).as_datatype_enum
    if fed:
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(values.shape).as_proto())
    else:
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))


def _attribute(value):
    """An AttrValue of a bool, a number, text or a type's name."""
    import tensorflow as tf

    made = tf.compat.v1.AttrValue()
    if isinstance(value, bool):
        made.b = value
    elif isinstance(value, int):
        made.i = value
    elif value in ("float16", "bfloat16", "float32", "float64", "int32", "int64", "bool", "string", "uint8"):
        made.type = tf.as_dtype(value).as_datatype_enum
    else:
        made.s = value.encode()
    return made
