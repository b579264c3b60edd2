import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_vit.export.tflite_graph import flatbuffer


def rewritten(path, target, change):
    """The file with its unpacked model changed."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(builder.Output())
    return target


@pytest.fixture
def file(converted):
    return converted[0] / "toys_16x24_fp32.tflite"


def test_a_valid_file_passes(file):
    flatbuffer.check(flatbuffer.inspect_file(file), file.name)


def test_a_custom_operator_is_named(file, tmp_path):
    def change(model):
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"FlexErf"

    contents = flatbuffer.inspect_file(rewritten(file, tmp_path / "flex.tflite", change))
    assert contents.operators["FlexErf"] >= 1
    with pytest.raises(ValueError, match=r"flex needs operators.*FlexErf \("):
        flatbuffer.check(contents, "flex")


def test_a_free_dimension_is_found_by_its_signature(file, tmp_path):
    def change(model):
        tensor = model.subgraphs[0].tensors[model.subgraphs[0].operators[3].outputs[0]]
        tensor.shapeSignature = [-1, *tensor.shape[1:]]
        tensor.name = b"the/free/one"

    contents = flatbuffer.inspect_file(rewritten(file, tmp_path / "free.tflite", change))
    assert contents.dynamic == ("the/free/one",)
    with pytest.raises(ValueError, match="dynamic shape.*the/free/one"):
        flatbuffer.check(contents, "free")


def test_a_batch_other_than_1_is_rejected(file, tmp_path):
    def change(model):
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].shape = [2, 16, 24, 3]
        graph.tensors[graph.inputs[0]].shapeSignature = None

    contents = flatbuffer.inspect_file(rewritten(file, tmp_path / "two.tflite", change))
    with pytest.raises(ValueError, match="must have batch 1"):
        flatbuffer.check(contents, "two")


@pytest.mark.parametrize("scale, zero_point, good", [(1.0, 0, True), (0.95, 0, False), (1.0, 3, False)])
def test_integer_inputs_must_be_pixel_values(file, tmp_path, scale, zero_point, good):
    def change(model):
        image = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        image.quantization = schema.QuantizationParametersT()
        image.quantization.scale, image.quantization.zeroPoint = [scale], [zero_point]

    contents = flatbuffer.inspect_file(rewritten(file, tmp_path / "whole.tflite", change))
    assert contents.input_quantization == (pytest.approx(scale), zero_point)
    if good:
        flatbuffer.check(contents, "whole")
    else:
        with pytest.raises(ValueError, match="whole must take pixels unchanged.*not kept"):
            flatbuffer.check(contents, "whole")


def data_positions(content):
    """Where in the file each buffer's data starts, None where a buffer is empty."""
    model = schema.Model.GetRootAs(content, 0)
    tables = [model.Buffers(i)._tab for i in range(model.BuffersLength())]
    return [table.Vector(table.Offset(4)) if table.Offset(4) else None for table in tables]


@pytest.mark.parametrize("surplus", [0, 4, 12])
def test_added_metadata_moves_nothing_else(file, surplus):
    content = file.read_bytes() + bytes(surplus)  # so that its length is not a multiple of the alignment
    longer = flatbuffer.add_metadata(content, "note", b"12345")
    before, after = (schema.ModelT.InitFromPackedBuf(data, 0) for data in (content, longer))
    assert after.metadata.pop().name == b"note" and bytes(after.buffers.pop().data) == b"12345"
    packed = []
    for model in (before, after):
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        packed.append(builder.Output())
    assert packed[0] == packed[1]
    [shift] = {new - old for old, new in zip(data_positions(content), data_positions(longer)) if old}
    assert shift % 16 == 0
    assert data_positions(longer)[-1] % 16 == 0


def test_a_file_that_is_not_tflite(tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is not a .tflite file"):
        flatbuffer.inspect_file(tmp_path / "a.tflite")


def test_the_first_output_is_the_one_that_is_named(file, tmp_path):
    """Of a file with a second output, before the probabilities, nothing but the order changes."""

    def add_output(model):
        graph, signature = model.subgraphs[0], model.signatureDefs[0]
        second = schema.TensorMapT()
        second.name, second.tensorIndex = b"hidden", int(graph.operators[0].outputs[0])
        signature.outputs.append(second)
        graph.outputs = [second.tensorIndex, *graph.outputs.tolist()]

    content = rewritten(file, tmp_path / "two.tflite", add_output).read_bytes()
    before, after = (flatbuffer.unpack(c) for c in (content, flatbuffer.with_first_output(content, "probabilities")))
    hidden, probabilities = before.subgraphs[0].outputs.tolist()
    assert after.subgraphs[0].outputs.tolist() == [probabilities, hidden]
    assert flatbuffer.with_first_output(content, "hidden") == content
    assert {one.name: one.tensorIndex for one in after.signatureDefs[0].outputs} == {
        b"probabilities": probabilities,
        b"hidden": hidden,
    }
