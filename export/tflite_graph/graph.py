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
        return self._consumers.get(tensor, [])

    def of_kinds(self, kinds):
        """The operators of these kinds."""
        return [one for one in self.main.operators if self.kind(one) in kinds]

    def weighted(self):
        """The dense layers and convolutions."""
        return self.of_kinds(WEIGHTED)

    def add_constant(self, name, values):
        """Add float32 values that an operator can be given; returns their number."""
        return self._add_tensor(name, values=values)

    def give(self, operator, place, tensor):
        """Let an operator take a tensor at a place among its inputs."""
        operator.inputs = np.array(operator.inputs, "int32")
        operator.inputs[place] = tensor
        self._index()

    def set_constant(self, operator, place, values):
        """Let an operator take other values at a place where it has a constant; others that share it keep theirs."""
        self.give(operator, place, self.add_constant(f"{self.name(operator.inputs[place])}/changed", values))

    def remove(self, operator):
        """Remove an operator that computes one tensor: what takes that takes the operator's first input."""
        (output,) = operator.outputs
        self._redirect(output, operator.inputs[0])
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
        generated = flatbuffer.generated()
        made = generated.OperatorT()
        made.opcodeIndex = self._code(kind.upper())
        made.builtinOptionsType = getattr(generated.BuiltinOptions, f"{kind}Options")
        made.builtinOptions = getattr(generated, f"{kind}OptionsT")()
        output = self._add_tensor(f"{self.name(tensor)}/{kind.lower()}", self.shape(tensor))
        self._redirect(tensor, output)
        made.inputs, made.outputs = np.array([tensor, other], "int32"), np.array([output], "int32")
        self.main.operators.insert(self.main.operators.index(self.producer(tensor)) + 1, made)
        self._index()
        return output

    def content(self, outputs=()):
        """The file's bytes, without constants that nothing takes any more.

        Args:
            outputs: tensors that the file shall give besides its own outputs.
        """
        own = self.main.outputs
        self.main.outputs = np.array([*own, *outputs], "int32")
        try:
            with self._empty(set(self._consumers) | set(self._producers)):
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

    def _redirect(self, old, new):
        """Let everything that takes a tensor, and the file's outputs, take another."""
        for operator, place in self.consumers(old):
            self.give(operator, place, new)
        self.main.outputs = np.where(np.array(self.main.outputs) == old, new, self.main.outputs).astype("int32")
        for signature in self.model.signatureDefs or []:
            for end in signature.outputs:
                end.tensorIndex = new if end.tensorIndex == old else end.tensorIndex

    def _add_tensor(self, name, shape=None, values=None):
        generated = flatbuffer.generated()
        tensor, buffer = generated.TensorT(), generated.BufferT()
        if values is not None:
            values = np.ascontiguousarray(values, "float32")
            shape, buffer.data = values.shape, np.frombuffer(values.tobytes(), "uint8")
        name = f"{name}:{len(self.main.tensors)}"  # no other tensor has it
        tensor.name, tensor.shape, tensor.hasRank = name.encode(), np.array(shape, "int32"), True
        tensor.type, tensor.buffer = generated.TensorType.FLOAT32, len(self.model.buffers)
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
