"""What is inside a .tflite file, a flatbuffer (schema.fbs of TensorFlow Lite): operators, shapes, metadata."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

MODEL = "version operator_codes subgraphs description buffers metadata_buffer metadata signature_defs"  # its fields
ALIGNMENT = 16  # bytes, of a buffer's data


@dataclass(frozen=True)
class Contents:
    """A .tflite file's graph in figures."""

    operators: dict[str, int]  # name -> how often
    foreign: tuple[str, ...]  # "operator (output tensor)" of every operator that is not built in
    dynamic: tuple[str, ...]  # tensors with a dimension that is not fixed
    max_rank: int
    inputs: dict[str, tuple]  # tensor -> shape
    outputs: dict[str, tuple]
    input_quantization: tuple[float, int] | None  # scale and zero point, where the input is of whole numbers


def inspect_file(path):
    """Read the operators and tensors of a .tflite file; ValueError if it is none."""
    schema = _schema()
    data = Path(path).read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a .tflite file.")
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    names = _operator_names(schema)
    operators, foreign, dynamic, ranks = Counter(), [], [], [0]
    for graph in model.subgraphs:
        tensors = graph.tensors or []
        dynamic.extend(_name(tensor) for tensor in tensors if min(_shape(tensor), default=0) < 0)
        ranks.extend(len(_shape(tensor)) for tensor in tensors)
        for operator in graph.operators or []:
            name, built_in = _operator(model.operatorCodes[operator.opcodeIndex], schema, names)
            operators[name] += 1
            if not built_in:
                foreign.append(f"{name} ({_name(tensors[operator.outputs[0]])})")
    main = model.subgraphs[0]
    inputs, outputs = (
        {_name(main.tensors[i]): _shape(main.tensors[i]) for i in ends} for ends in (main.inputs, main.outputs)
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
        (float(quantization.scale[0]), int(quantization.zeroPoint[0])) if scaled else None,
    )


def find(path, wanted):
    """(operator, tensor it gives) of the operators for which `wanted(operator, ranks of its tensors)` is true."""
    found = []
    for name, taken, given in _graph_operators(path):
        if wanted(name, [len(_shape(tensor)) for tensor in (*taken, *given)]):
            found.append((name, _name(given[0])))
    return found


def float_operators(path):
    """How often each operator gives float32; those that only dequantise are not counted."""
    float32 = _schema().TensorType.FLOAT32
    results = ((name, given[0].type) for name, _, given in _graph_operators(path) if name != "DEQUANTIZE")
    return dict(Counter(name for name, kind in results if kind == float32).most_common())


def _graph_operators(path):
    """(name, tensors it takes, tensors it gives) of every operator."""
    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(Path(path).read_bytes(), 0)
    names = _operator_names(schema)
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            name, _ = _operator(model.operatorCodes[operator.opcodeIndex], schema, names)
            taken, given = ([graph.tensors[i] for i in ends if i >= 0] for ends in (operator.inputs, operator.outputs))
            yield name, taken, given


def check(contents, name):
    """Raise ValueError unless all operators are built in, all shapes fixed, the batch is 1, and bytes are pixels."""
    if contents.foreign:
        raise ValueError(
            f"{name} needs operators that TFLite's runtimes lack, and is not kept: {', '.join(contents.foreign)}."
        )
    if contents.dynamic:
        raise ValueError(f"{name} has tensors of changing shape, and is not kept: {', '.join(contents.dynamic[:5])}.")
    ends = {**contents.inputs, **contents.outputs}
    wrong = {tensor: shape for tensor, shape in ends.items() if shape[:1] != (1,)}
    if wrong:
        raise ValueError(f"{name} must take and give one picture at a time, and is not kept. Received: {wrong}.")
    if contents.input_quantization is not None:
        scale, zero_point = contents.input_quantization
        if zero_point != 0 or abs(255 * scale - 255) > 0.5:
            raise ValueError(
                f"{name} must take the bytes of a picture as they are, and is not kept. Expected scale 1 and "
                f"zero point 0 of its input. Received: {scale:g} and {zero_point}; calibrate it on black and white."
            )


def add_metadata(content, name, data):
    """A .tflite file's bytes with one more entry of metadata: `data`, under `name`.

    Not a byte of the file is changed, so that its tensors keep their places and alignment: what is new, a copy of the
    root table among it, is written in front, since a flatbuffer points forward only.
    """
    import flatbuffers

    schema = _schema()
    root = schema.Model.GetRootAs(content, 0)
    content += bytes(-len(content) % ALIGNMENT)
    places = 4 * (root.BuffersLength() + root.MetadataLength())
    builder = flatbuffers.Builder(len(content) + len(data) + len(name) + places + 1024)
    builder.head -= len(content)  # a builder writes from the end to the front
    builder.Bytes[builder.head :] = content
    builder.minalign = ALIGNMENT

    def present(position):
        """What the builder calls a table that the content has: its distance from the end."""
        return len(content) - position

    buffers = [present(root.Buffers(i)._tab.Pos) for i in range(root.BuffersLength())]
    entries = [present(root.Metadata(i)._tab.Pos) for i in range(root.MetadataLength())]
    builder.Prep(ALIGNMENT, len(data))
    vector = builder.CreateByteVector(data)
    schema.BufferStart(builder)
    schema.BufferAddData(builder, vector)
    buffers.append(schema.BufferEnd(builder))
    vector = builder.CreateString(name)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, vector)
    schema.MetadataAddBuffer(builder, len(buffers) - 1)
    entries.append(schema.MetadataEnd(builder))
    replaced = {"buffers": offset_vector(builder, buffers), "metadata": offset_vector(builder, entries)}
    fields = MODEL.split()
    builder.StartObject(len(fields))
    builder.PrependUint32Slot(fields.index("version"), root.Version(), 0)
    for number, field in enumerate(fields[1:], 1):
        start = root._tab.Offset(4 + 2 * number)
        if field in replaced:
            builder.PrependUOffsetTRelativeSlot(number, replaced[field], 0)
        elif start:
            builder.PrependUOffsetTRelativeSlot(number, present(root._tab.Indirect(root._tab.Pos + start)), 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    return bytes(builder.Output())


def offset_vector(builder, offsets):
    """Write a vector of tables or strings that are written already."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _operator(code, schema, names):
    """Name of an operator code, and whether it is built in; old files keep small numbers in a field of their own."""
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return (code.customCode or b"CUSTOM").decode(), False
    name = names.get(number, f"operator {number}")
    return name, number in names and not name.startswith("STABLEHLO")


def _operator_names(schema):
    return {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def _shape(tensor):
    """The signature if there is one: it has -1 where `shape` shows the 1 of an unknown dimension."""
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return tuple(int(side) for side in (shape if shape is not None else ()))


def _name(tensor):
    return (tensor.name or b"?").decode()


def _schema():
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        from tensorflow.lite.python import schema_py_generated
    return schema_py_generated
