import pytest

from keras_vit.export.edge.converter import explained, unsupported

MESSAGE = """Could not translate MLIR.<unknown>:0: error: loc(callsite(fused["Erf:", \
"StatefulPartitionedCall/vit_1/block0_1/mlp_1/Erf@__inference_pruned_1"] at fused["PartitionedCall:", "P"])): error
fused["Erf:", "StatefulPartitionedCall/vit_1/block1_1/mlp_1/Erf@__inference_pruned_1"]
Some ops are not supported by the native TFLite runtime
{kind} ops: Erf, Roll
Details:
    tf.Erf(tensor<1x4xf32>) -> (tensor<1x4xf32>)
"""


@pytest.mark.parametrize("kind", ["Flex", "Custom", "TF Select"])
def test_operators_and_layers_are_found(kind):
    found = unsupported(MESSAGE.replace("{kind}", kind))
    assert found.partition(": ")[2] == "Erf (in vit_1/block0_1/mlp_1, vit_1/block1_1/mlp_1); Roll"


def test_other_messages_name_no_operators():
    assert unsupported("out of memory") == ""


def test_other_errors_are_reported_with_their_layer():
    located = 'loc(callsite(fused["MatMul:", "StatefulPartitionedCall/toy_1/head_1/MatMul@__f"] at fused["P:", "P"]))'
    message = f"<unknown>:0: error: {located}: 'tfl.fully_connected' op is odd (5 of 3)\n<unknown>:0: note: more"
    assert explained(message) == "in toy_1/head_1/MatMul, 'tfl.fully_connected' op is odd (5 of 3)"
    assert explained("out of memory") == "out of memory"
