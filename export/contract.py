"""What a .tflite file may hold to run everywhere: operators that LiteRT and XNNPACK know, and small tensors.

Delegates take tensors of rank 4 at most, and every family is written so that it needs no more.
"""

from keras_vit.export import flatbuffer
from keras_vit.export.quantise import layer_name

OPERATORS = frozenset(
    """ADD AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEQUANTIZE DIV EXP FULLY_CONNECTED GELU
    LOGISTIC MAX_POOL_2D MAXIMUM MEAN MUL NEG PAD QUANTIZE RELU RESHAPE RESIZE_BILINEAR RSQRT SLICE SOFTMAX SPLIT SQRT
    SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TRANSPOSE""".split()
)
RANK = 4


def check(path):
    """A file's `flatbuffer.Contents`; ValueError naming operators and layers if it breaks the contract."""
    contents = flatbuffer.inspect_file(path)
    flatbuffer.check(contents, path.name)
    strange = sorted(set(contents.operators) - OPERATORS)
    if strange:
        places = flatbuffer.find(path, lambda operator, ranks: operator in strange)
        raise ValueError(
            f"{path.name} has operators that delegates for phones lack, and is not kept: {_listed(places)}."
        )
    if contents.max_rank > RANK:
        places = flatbuffer.find(path, lambda operator, ranks: max(ranks, default=0) > RANK)
        raise ValueError(
            f"{path.name} has tensors of rank {contents.max_rank}, of {RANK} at most, and is not kept: "
            f"{_listed(places)}."
        )
    return contents


def _listed(places):
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return ", ".join(f"{operator} (in {layer_name(tensor)})" for operator, tensor in places[:5]) + more
