"""The graph of a float .tflite file, to be looked through and changed."""

import contextlib

import numpy as np

from keras_vit.export.tflite_graph import flatbuffer

TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
WEIGHTED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
PRODUCT = "BATCH_MATMUL"


class Graph:
    """The main graph of a file, whose operators are in an order in which they can be computed.

    Tensors are known by their numbers, operators as the schema's `OperatorT`.

    Args:
        content: the file's bytes.
    """

    def __init__(self, content):
        self.model = flatbuffer.unpack(content)
        self.main = self.model.subgraphs[0]
        self._index()

    @property
    def operators(self):
        """All operators; those that are inserted meanwhile are not in a list that was asked for before."""
        return list(self.main.operators)

    def kind(self, operator):
        """The name of an operator in the schema, e.g. "CONV_2D"."""
        return flatbuffer.operator_name(self.model.operatorCodes[operator.opcodeIndex])

    def name(self, tensor):
        """The name of a tensor."""
        return self.main.tensors[tensor].name.decode()

    def shape(self, tensor):
        """The shape of a tensor."""
        return flatbuffer.shape_of(self.main.tensors[tensor])

    def dtype(self, tensor):
        """The type of a tensor's values, e.g. "float32"."""
        return TYPES.get(self.main.tensors[tensor].type, "another type")

    def constant(self, tensor):
        """The values of a constant; None of a tensor that is computed."""
        if tensor < 0:
            return None
        stored = self.main.tensors[tensor]
        data = self.model.buffers[stored.buffer].data
        if data is None:
            return None
        return np.frombuffer(bytes(bytearray(data)), TYPES[stored.type]).reshape(self.shape(tensor))

    def producer(self, tensor):
        """The operator that computes a tensor; None of constants and inputs."""
        return self._producers.get(tensor)

    def consumers(self, tensor):
        """(operator, place among its inputs) of all that take a tensor."""
        return list(self._consumers.get(tensor, []))

    def following(self, operator):
        """The operator behind one in the file's order; None behind the last."""
        place = self._place(operator) + 1
        return self.main.operators[place] if place < len(self.main.operators) else None

    def of_kinds(self, kinds):
        """The operators of these kinds."""
        return [one for one in self.main.operators if self.kind(one) in kinds]

    def weighted(self):
        """The dense layers and convolutions."""
        return self.of_kinds(WEIGHTED)

    def add_constant(self, name, values):
        """Add values that an operator can be given, int32 ones as they are, others as float32; returns their number."""
        return self._add_tensor(name, values=values)

    def add_operator(self, before, kind, inputs, shape, kind_of_options=None, dtype="float32", **options):
        """Insert an operator that computes one tensor.

        Args:
            before: the operator in front of which it is computed; None for the end.
            kind: its name in the schema, e.g. "SLICE".
            inputs: numbers of tensors.
            shape: of the tensor that it computes.
            kind_of_options: the class of its options in the schema, without "Options"; None if it has none.
            dtype: of what it computes.
            **options: fields of its options, by the schema's names.

        Returns:
            The number of the computed tensor.
        """
        generated = flatbuffer.generated()
        made = generated.OperatorT()
        made.opcodeIndex = self._code(kind)
        if kind_of_options:
            made.builtinOptionsType = getattr(generated.BuiltinOptions, f"{kind_of_options}Options")
            made.builtinOptions = getattr(generated, f"{kind_of_options}OptionsT")()
            for field, value in options.items():
                setattr(made.builtinOptions, field, value)
        output = self._add_tensor(f"{self._name_behind(inputs)}/{kind.lower()}", shape, dtype=dtype)
        made.inputs, made.outputs = np.array(inputs, "int32"), np.array([output], "int32")
        operators = self.main.operators
        operators.insert(len(operators) if before is None else self._place(before), made)
        self._producers[output] = made
        for place, tensor in enumerate(made.inputs):
            self._consumers.setdefault(int(tensor), []).append((made, place))
        return output

    def add_reshape(self, before, tensor, shape):
        """Insert a RESHAPE as `add_operator` does; returns the number of what it gives."""
        values = self.add_constant(f"{self.name(tensor)}/shape", np.array(shape, "int32"))
        return self.add_operator(before, "RESHAPE", [tensor, values], shape, "Reshape", newShape=list(shape))

    def set_shape(self, tensor, shape):
        """State another shape of a computed tensor."""
        stored = self.main.tensors[tensor]
        stored.shape, stored.shapeSignature = np.array(shape, "int32"), None

    def give(self, operator, place, tensor):
        """Let an operator take a tensor at a place among its inputs."""
        operator.inputs = np.array(operator.inputs, "int32")
        before = self._consumers[int(operator.inputs[place])]
        before[:] = [one for one in before if one[0] is not operator or one[1] != place]
        operator.inputs[place] = tensor
        self._consumers.setdefault(int(tensor), []).append((operator, place))

    def replace(self, old, new):
        """Let everything that takes a tensor, and the file's outputs, take another."""
        for operator, place in self.consumers(old):
            self.give(operator, place, new)
        self.main.outputs = np.where(np.array(self.main.outputs) == old, new, self.main.outputs).astype("int32")
        for signature in self.model.signatureDefs or []:
            for end in signature.outputs:
                end.tensorIndex = new if end.tensorIndex == old else end.tensorIndex

    def remove_unused(self):
        """Remove the operators of which nothing is taken."""
        needed, kept = set(map(int, self.main.outputs)), []
        for operator in reversed(self.main.operators):
            if needed & set(map(int, operator.outputs)):
                needed |= set(map(int, operator.inputs))
                kept.append(operator)
        self.main.operators = kept[::-1]
        self._index()

    def set_constant(self, operator, place, values):
        """Let an operator take other values at a place where it has a constant; others that share it keep theirs."""
        self.give(operator, place, self.add_constant(f"{self.name(operator.inputs[place])}/changed", values))

    def remove(self, operator):
        """Remove an operator that computes one tensor: what takes that takes the operator's first input."""
        (output,) = operator.outputs
        self.replace(output, operator.inputs[0])
        self.main.operators.remove(operator)
        self._index()

    def multiply_behind(self, tensor, factor):
        """Insert a product with a factor per channel: all that takes the tensor takes the product from then on.

        Args:
            tensor: number of a tensor that an operator computes.
            factor: float32 (C,).

        Returns:
            The product's number.
        """
        return self._insert_behind(tensor, "Mul", self.add_constant(f"{self.name(tensor)}/factor", factor))

    def add_input_behind(self, tensor):
        """Add an input of the tensor's shape to the file, and to the tensor; returns the input's number."""
        added = self._add_tensor(f"{self.name(tensor)}/added", self.shape(tensor))
        self.main.inputs = np.array([*self.main.inputs, added], "int32")
        self.model.signatureDefs = []  # the signature would lack it
        self._insert_behind(tensor, "Add", added)
        return added

    def _insert_behind(self, tensor, kind, other):
        behind = self.following(self.producer(tensor))
        output = self.add_operator(behind, kind.upper(), [tensor, other], self.shape(tensor), kind)
        self.replace(tensor, output)
        self.give(self.producer(output), 0, tensor)  # itself takes the tensor
        return output

    def content(self, outputs=()):
        """The file's bytes, without constants that nothing takes any more.

        Args:
            outputs: tensors that the file shall give besides its own outputs.
        """
        own = self.main.outputs
        self.main.outputs = np.array([*own, *outputs], "int32")
        try:
            with self._empty({tensor for tensor, takers in self._consumers.items() if takers} | set(self._producers)):
                return flatbuffer.pack(self.model)
        finally:
            self.main.outputs = own

    @contextlib.contextmanager
    def _empty(self, used):
        """Meanwhile the constants that are not used have no values."""
        unused = [tensor.buffer for number, tensor in enumerate(self.main.tensors) if number not in used]
        taken = {tensor.buffer for number, tensor in enumerate(self.main.tensors) if number in used}
        kept = {number: self.model.buffers[number].data for number in set(unused) - taken}
        for number in kept:
            self.model.buffers[number].data = None
        try:
            yield
        finally:
            for number, data in kept.items():
                self.model.buffers[number].data = data

    def _index(self):
        self._producers, self._consumers = {}, {}
        for operator in self.main.operators:
            for output in operator.outputs:
                self._producers[int(output)] = operator
            for place, tensor in enumerate(operator.inputs):
                self._consumers.setdefault(int(tensor), []).append((operator, place))

    def _place(self, operator):
        return next(place for place, one in enumerate(self.main.operators) if one is operator)

    def _name_behind(self, inputs):
        """The name of the first input that is computed: layers are known by it."""
        return self.name(next(int(i) for i in inputs if i >= 0 and self.constant(int(i)) is None))

    def _add_tensor(self, name, shape=None, values=None, dtype="float32"):
        generated = flatbuffer.generated()
        tensor, buffer = generated.TensorT(), generated.BufferT()
        if values is not None:
            dtype = "int32" if np.asarray(values).dtype == "int32" else "float32"
            values = np.ascontiguousarray(values, dtype)
            shape, buffer.data = values.shape, np.frombuffer(values.tobytes(), "uint8")
        name = f"{name}:{len(self.main.tensors)}"  # no other tensor has it
        tensor.name, tensor.shape, tensor.hasRank = name.encode(), np.array(shape, "int32"), True
        tensor.type, tensor.buffer = getattr(generated.TensorType, dtype.upper()), len(self.model.buffers)
        self.model.buffers.append(buffer)
        self.main.tensors.append(tensor)
        return len(self.main.tensors) - 1

    def _code(self, kind):
        for number, code in enumerate(self.model.operatorCodes):
            if flatbuffer.operator_name(code) == kind:
                return number
        generated = flatbuffer.generated()
        code = generated.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(generated.BuiltinOperator, kind)
        code.version = 1
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1
