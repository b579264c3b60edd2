"""What a .tflite file may contain to run everywhere: operators that LiteRT and XNNPACK have, tensors of rank 4 at most.

Delegates take no higher rank, and every family is written so that it needs none.
"""

from keras_vit.export.edge.quantize import layer_name
from keras_vit.export.tflite_graph import flatbuffer

OPERATORS = frozenset(
    """ADD AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEQUANTIZE DIV EXP FULLY_CONNECTED GELU
    LOG LOGISTIC MAX_POOL_2D MAXIMUM MEAN MUL NEG PAD QUANTIZE REDUCE_MAX RELU RESHAPE RESIZE_BILINEAR RSQRT SLICE
    SOFTMAX SPLIT SQRT SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TRANSPOSE""".split()
)
RANK = 4


def check(path):
    """Check a file.

    Returns:
        Its `flatbuffer.Contents`.

    Raises:
        ValueError: if the file breaks the contract, naming operators and layers.
    """
    contents = flatbuffer.inspect_file(path)
    flatbuffer.check(contents, path.name)
    strange = sorted(set(contents.operators) - OPERATORS)
    if strange:
        places = flatbuffer.find(path, lambda operator, ranks: operator in strange)
        raise ValueError(
            f"{path.name} has operators that delegates for phones lack, so it is not kept: {_listed(places)}."
        )
    if contents.max_rank > RANK:
        places = flatbuffer.find(path, lambda operator, ranks: max(ranks, default=0) > RANK)
        raise ValueError(
            f"{path.name} has tensors of rank {contents.max_rank}, above {RANK}, so it is not kept: {_listed(places)}."
        )
    return contents


def _listed(places):
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return ", ".join(f"{operator} (in {layer_name(tensor)})" for operator, tensor in places[:5]) + more
