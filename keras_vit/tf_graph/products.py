"""Dense layers and convolutions with constant weights: products, whose inputs and outputs can take factors and offsets.

y = W x + b.  Of W (a x): W diag(a).  Of W (x + c): b + W c.  Of a y: diag(a) W and a b.  Of y + c: b + c.
"""


class Product:
    """An operator whose second input is a constant kernel, and the bias behind it, if there is one.

    Attributes:
        operator: the "MatMul", "Conv2D" or "DepthwiseConv2dNative".
        inputs, outputs: numbers of channels.
    """

    def __init__(self, graph, operator):
        self._graph, self.operator = graph, operator
        self._axes = AXES[operator.kind]
        if operator.kind == "MatMul" and operator.attribute("transpose_b"):
            self._axes = (1, 0)
        shape = self.kernel.shape
        self.inputs = shape[self._axes[0]]
        self.outputs = shape[-1] * shape[-2] if operator.kind == "DepthwiseConv2dNative" else shape[self._axes[1]]

    @classmethod
    def of(cls, graph, operator):
        """The product of an operator; None if it is none, its kernel is not constant, or of another type or layout."""
        if operator.kind not in AXES or graph.constant(operator.inputs[1]) is None:
            return None
        layout = operator.attribute("transpose_a") if operator.kind == "MatMul" else _is_channels_first(operator)
        return None if layout or graph.dtype(operator.inputs[1]) != "float32" else cls(graph, operator)

    @property
    def kernel(self):
        """Its weights, as TensorFlow lays them out."""
        return self._graph.constant(self.operator.inputs[1])

    @property
    def bias_operator(self):
        """The operator that adds the bias, the only one that takes the product; None if there is none."""
        if not self._graph.is_taken_once(self.operator.output):
            return None
        ((operator, _),) = self._graph.consumers(self.operator.output)
        return operator if operator.kind == "BiasAdd" and self._graph.constant(operator.inputs[1]) is not None else None

    @property
    def output(self):
        """The tensor behind the bias."""
        return (self.bias_operator or self.operator).output

    def is_shared(self):
        """Whether others take the same kernel."""
        return len(self._graph.consumers(self.operator.inputs[1])) > 1

    def pads(self):
        """Whether some windows of a convolution see zeros beside the image."""
        if self.operator.kind == "MatMul" or self.operator.attribute("padding") == "VALID":
            return False
        if self.operator.attribute("padding") == "EXPLICIT":
            return any(self.operator.attributes["explicit_paddings"].list.i)
        seen, strides, spread = (self._sides(of) for of in ("shape", "strides", "dilations"))
        for size, kernel, stride, step in zip(seen, self.kernel.shape, strides, spread):
            if (-(-size // stride) - 1) * stride + (kernel - 1) * step + 1 > size:
                return True
        return False

    def scale_inputs(self, factor):
        """Let it take x instead of factor * x, and give the same; factor (Cin,)."""
        self._set_kernel(self.kernel * self._along(factor, 0))

    def shift_inputs(self, offset):
        """Let it take x instead of x + offset, and give the same, where it does not pad; offset (Cin,)."""
        moved = self.kernel.astype("float64") * self._along(offset.astype("float64"), 0)
        if self.operator.kind == "DepthwiseConv2dNative":
            self.shift_outputs(moved.sum((0, 1)).ravel())
        else:
            outputs = self._axes[1] % moved.ndim
            self.shift_outputs(moved.sum(tuple(axis for axis in range(moved.ndim) if axis != outputs)))

    def scale_outputs(self, factor):
        """Let it give factor times what it gives; factor (Cout,)."""
        if self.operator.kind == "DepthwiseConv2dNative":
            self._set_kernel(self.kernel * factor.reshape(self.kernel.shape[2:]))
        else:
            self._set_kernel(self.kernel * self._along(factor, 1))
        if self.bias_operator is not None:
            self._set_bias(factor * self._bias())

    def shift_outputs(self, offset):
        """Let it give offset more than it gives; offset (Cout,)."""
        if self.bias_operator is not None:
            self._set_bias((self._bias() + offset).astype("float32"))
            return
        graph, given = self._graph, self.operator.output
        bias = graph.add_constant(f"{self.operator.name}/bias", offset.astype("float32"))
        options = {} if self.operator.kind == "MatMul" else {"data_format": "NHWC"}
        added = graph.add_operator(f"{self.operator.name}/add", "BiasAdd", [given, bias], graph.shape(given), **options)
        graph.replace(given, added, but=added)

    def _sides(self, of):
        """The image's height and width, or the strides or dilations along them."""
        if of == "shape":
            return self._graph.shape(self.operator.inputs[0])[1:3]
        return list(self.operator.attributes[of].list.i)[1:3] if of in self.operator.attributes else (1, 1)

    def _along(self, values, end):
        """Values per input (end 0) or output (end 1) channel, of a shape that the kernel can be multiplied with."""
        shape = [1] * self.kernel.ndim
        shape[self._axes[end]] = -1
        return values.reshape(shape)

    def _set_kernel(self, values):
        self._graph.set_constant(self.operator, 1, values)

    def _bias(self):
        return self._graph.constant(self.bias_operator.inputs[1])

    def _set_bias(self, values):
        self._graph.set_constant(self.bias_operator, 1, values)


AXES = {
    "MatMul": (0, 1),
    "Conv2D": (-2, -1),
    "DepthwiseConv2dNative": (-2, None),
}  # of inputs and outputs in the kernel


def _is_channels_first(operator):
    return operator.attribute("data_format") != "NHWC"


def products(graph):
    """All products of a graph, in order."""
    found = (Product.of(graph, operator) for operator in graph.operators)
    return [product for product in found if product is not None]
