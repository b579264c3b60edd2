"""Reading operators and shapes of a .tflite file, a flatbuffer (schema.fbs of TensorFlow Lite), and adding metadata."""

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# fields of the root table
MODEL = "version operator_codes subgraphs description buffers metadata_buffer metadata signature_defs"
ALIGNMENT = 16  # bytes, of a buffer's data


@dataclass(frozen=True)
class Contents:
    """A summary of a .tflite file's graph."""

    operators: dict[str, int]  # name -> number of them
    foreign: tuple[str, ...]  # "operator (output tensor)" of every operator that is not built in
    dynamic: tuple[str, ...]  # tensors with a dynamic dimension
    max_rank: int
    inputs: dict[str, tuple]  # tensor -> shape
    outputs: dict[str, tuple]
    input_quantization: tuple[float, int] | None  # scale and zero point of an integer input


def inspect_file(path):
    """Read the operators and tensors of a .tflite file.

    Raises:
        ValueError: if it is not a .tflite file.
    """
    data = Path(path).read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a .tflite file.")
    model = unpack(data)
    operators, foreign, dynamic, ranks = Counter(), [], [], [0]
    for graph in model.subgraphs:
        tensors = graph.tensors or []
        dynamic.extend(_name(tensor) for tensor in tensors if min(shape_of(tensor), default=0) < 0)
        ranks.extend(len(shape_of(tensor)) for tensor in tensors)
        for operator in graph.operators or []:
            code = model.operatorCodes[operator.opcodeIndex]
            name = operator_name(code)
            operators[name] += 1
            if not _is_built_in(code):
                foreign.append(f"{name} ({_name(tensors[operator.outputs[0]])})")
    main = model.subgraphs[0]
    inputs, outputs = (
        {_name(main.tensors[i]): shape_of(main.tensors[i]) for i in ends} for ends in (main.inputs, main.outputs)
    )
    quantization = main.tensors[main.inputs[0]].quantization
    scaled = quantization is not None and quantization.scale is not None and len(quantization.scale) > 0
    return Contents(
        dict(operators.most_common()),
        tuple(foreign),
        tuple(dynamic),
        max(ranks),
        inputs,
        outputs,
        ((float(quantization.scale[0]), int(quantization.zeroPoint[0])) if scaled else None),
    )


def find(path, condition):
    """(operator, its output tensor) of the operators for which `condition(operator, ranks of its tensors)` is true."""
    found = []
    for name, inputs, outputs in _graph_operators(path):
        if condition(name, [len(shape_of(tensor)) for tensor in (*inputs, *outputs)]):
            found.append((name, _name(outputs[0])))
    return found


def float_operators(path):
    """{operator: number of them with a float32 output}, without DEQUANTIZE."""
    float32 = generated().TensorType.FLOAT32
    results = ((name, outputs[0].type) for name, _, outputs in _graph_operators(path) if name != "DEQUANTIZE")
    return dict(Counter(name for name, kind in results if kind == float32).most_common())


def _graph_operators(path):
    """(name, input tensors, output tensors) of every operator."""
    model = unpack(Path(path).read_bytes())
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            name = operator_name(model.operatorCodes[operator.opcodeIndex])
            ends = (operator.inputs, operator.outputs)
            yield name, *([graph.tensors[i] for i in end if i >= 0] for end in ends)


def check(contents, name):
    """Check that all operators are built in, all shapes static, the batch is 1 and integer inputs are pixel values.

    Raises:
        ValueError: if not.
    """
    if contents.foreign:
        raise ValueError(
            f"{name} needs operators that TFLite's runtimes lack, so it is not kept: {', '.join(contents.foreign)}."
        )
    if contents.dynamic:
        raise ValueError(f"{name} has tensors of dynamic shape, so it is not kept: {', '.join(contents.dynamic[:5])}.")
    ends = {**contents.inputs, **contents.outputs}
    wrong = {tensor: shape for tensor, shape in ends.items() if shape[:1] != (1,)}
    if wrong:
        raise ValueError(f"{name} must have batch 1, so it is not kept. Received: {wrong}.")
    if contents.input_quantization is not None:
        scale, zero_point = contents.input_quantization
        if zero_point != 0 or abs(255 * scale - 255) > 0.5:
            raise ValueError(
                f"{name} must take pixels unchanged, so it is not kept. Expected an input of scale 1 and zero point "
                f"0. Received: {scale:g} and {zero_point}; calibrate it with black and white images."
            )


def add_metadata(content, name, data):
    """A .tflite file with one more entry of metadata.

    The content itself is not changed, so that tensors keep their alignment. The new tables, among them a copy of the
    root table, are written in front of it, since offsets in a flatbuffer point forward only.

    Args:
        content: bytes of the file.
        name: of the entry.
        data: bytes of the entry.

    Returns:
        The bytes of the new file.
    """
    import flatbuffers

    root = generated().Model.GetRootAs(content, 0)
    content += bytes(-len(content) % ALIGNMENT)
    places = 4 * (root.BuffersLength() + root.MetadataLength())
    builder = flatbuffers.Builder(len(content) + len(data) + len(name) + places + 1024)
    builder.head -= len(content)  # a builder writes from the end to the front
    builder.Bytes[builder.head :] = content
    builder.minalign = ALIGNMENT
    end = len(content)  # the builder's offsets are distances from the end
    buffers = [end - root.Buffers(i)._tab.Pos for i in range(root.BuffersLength())]
    entries = [end - root.Metadata(i)._tab.Pos for i in range(root.MetadataLength())]
    buffers.append(_write_buffer(builder, data))
    entries.append(_write_entry(builder, name, len(buffers) - 1))
    replaced = {"buffers": offset_vector(builder, buffers), "metadata": offset_vector(builder, entries)}
    fields = MODEL.split()
    builder.StartObject(len(fields))
    builder.PrependUint32Slot(fields.index("version"), root.Version(), 0)
    for number, field in enumerate(fields[1:], 1):
        start = root._tab.Offset(4 + 2 * number)
        if field in replaced:
            builder.PrependUOffsetTRelativeSlot(number, replaced[field], 0)
        elif start:
            builder.PrependUOffsetTRelativeSlot(number, end - root._tab.Indirect(root._tab.Pos + start), 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    return bytes(builder.Output())


def _write_buffer(builder, data):
    builder.Prep(ALIGNMENT, len(data))
    vector, schema = builder.CreateByteVector(data), generated()
    schema.BufferStart(builder)
    schema.BufferAddData(builder, vector)
    return schema.BufferEnd(builder)


def _write_entry(builder, name, buffer):
    string, schema = builder.CreateString(name), generated()
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, string)
    schema.MetadataAddBuffer(builder, buffer)
    return schema.MetadataEnd(builder)


def offset_vector(builder, offsets):
    """Write a vector of offsets to tables or strings that are written already; returns its offset."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def with_first_output(content, name):
    """A .tflite file whose graph has the output that its signature calls `name`, if it has one, as the first one.

    Readers without signatures, MediaPipe among them, know outputs by their place; converters sort them.
    """
    content = bytearray(content)
    outputs = generated().Model.GetRootAs(content, 0).Subgraphs(0).OutputsAsNumpy()  # a view of the content
    names = dict(zip(output_names(content), outputs.tolist()))
    if name in names:
        outputs[:] = [names.pop(name), *names.values()]
    return bytes(content)


def output_names(content):
    """What the signature of a .tflite file calls the outputs of its graph, in the graph's order."""
    model = generated().Model.GetRootAs(content, 0)
    named = [model.SignatureDefs(0).Outputs(i) for i in range(model.SignatureDefs(0).OutputsLength())]
    names = {one.TensorIndex(): one.Name().decode() for one in named}
    return [names[index] for index in model.Subgraphs(0).OutputsAsNumpy().tolist()]


def unpack(content):
    """The bytes of a .tflite file as the schema's `ModelT`."""
    return generated().ModelT.InitFromPackedBuf(content, 0)


def pack(model):
    """The bytes of a `ModelT`, its constants inside the flatbuffer."""
    from ai_edge_litert.tools import flatbuffer_utils

    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)  # written at once, not byte by byte
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def operator_name(code):
    """The name of an operator code, e.g. "CONV_2D"; of a custom one, its own."""
    number = _number(code)
    if number == generated().BuiltinOperator.CUSTOM:
        return (code.customCode or b"CUSTOM").decode()
    return _built_in_names().get(number, f"operator {number}")


def _is_built_in(code):
    number, names = _number(code), _built_in_names()
    return number in names and names[number] != "CUSTOM" and not names[number].startswith("STABLEHLO")


def _number(code):
    """Old files have small numbers in a field of their own."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)


@functools.cache
def _built_in_names():
    return {value: name for name, value in vars(generated().BuiltinOperator).items() if not name.startswith("_")}


def shape_of(tensor):
    """A tensor's shape: the shape signature if there is one: it has -1 for a dynamic dimension, where `shape` has 1."""
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return tuple(int(side) for side in (shape if shape is not None else ()))


def _name(tensor):
    return (tensor.name or b"?").decode()


def generated():
    """The module of the schema's classes."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        from tensorflow.lite.python import schema_py_generated
    return schema_py_generated
