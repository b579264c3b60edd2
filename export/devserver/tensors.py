"""Tensors of the Open Inference Protocol: names of data types, shapes, and elements as bytes.

Data types are those of its specification (inference_rest.md), bytes those of Triton's binary tensor data extension, and
of the protocol's gRPC form: little-endian, row by row, a byte for a BOOL, and four bytes of length before an element of
BYTES.
"""

import math
import reprlib
import struct

import numpy as np

from keras_vit.export.devserver.rest import RestError, check_shape, shortened

BYTES = "BYTES"
DATATYPES = {
    **{np.dtype(f"int{bits}"): f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"uint{bits}"): f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"float{bits}"): f"FP{bits}" for bits in (16, 32, 64)},
    np.dtype(bool): "BOOL",
}
LENGTH = struct.Struct("<I")  # of an element of BYTES
LARGEST_SIDE = 2**31 - 1


def datatype(dtype):
    """The protocol's name of a `Signature`'s type."""
    return BYTES if dtype is bytes else DATATYPES.get(np.dtype(dtype), np.dtype(dtype).name.upper())


def described(tensors):
    """The protocol's description of a `Signature`'s inputs or outputs: -1 stands for free dimensions."""
    return [
        {"name": name, "datatype": datatype(dtype), "shape": [-1 if side is None else side for side in shape]}
        for name, (dtype, shape) in tensors.items()
    ]


def checked_shape(name, given, shape):
    """The shape of an input, as a tuple.

    Args:
        name: the input's.
        given: list of sizes, of any origin.
        shape: the `Signature`'s.

    Raises:
        RestError: if it is none, is not the signature's, or has no elements in spite of several axes. (What has none
            may claim any size along the others, which a model would then take memory for.)
    """
    if not isinstance(given, (list, tuple)) or any(type(side) is not int or side < 0 for side in given):
        raise RestError(400, f"Input {shortened(name)}: the shape must be a list of whole numbers from 0 up.")
    check_shape(name, given, shape)
    if max(given, default=0) > LARGEST_SIDE:
        raise RestError(400, f"Input {shortened(name)}: at most {LARGEST_SIDE} along a dimension.")
    if len(given) > 1 and 0 in given:
        raise RestError(400, f"Input {shortened(name)}: the shape {list(given)} has no elements.")
    return tuple(given)


def check_datatype(name, given, dtype):
    """`RestError` unless an input's data type is that of the `Signature`."""
    if given != datatype(dtype):
        expected, got = datatype(dtype), reprlib.repr(given)
        raise RestError(400, f"Input {shortened(name)}: expecting datatype {expected!r} but got: {got}")


def from_bytes(name, content, dtype, shape):
    """An input from its elements' bytes.

    Args:
        name: the input's.
        content: bytes or a view of them; numbers stay where they are.
        dtype: the `Signature`'s type.
        shape: of `checked_shape`.

    Raises:
        RestError: if they are not the bytes of so many elements.
    """
    count = math.prod(shape)
    if dtype is bytes:
        return _strings(name, content, count).reshape(shape)
    stored = np.dtype("uint8" if np.dtype(dtype) == bool else dtype).newbyteorder("<")
    if len(content) != count * stored.itemsize:
        raise RestError(400, _wrong_size(name, content, f"{count * stored.itemsize} bytes for its shape"))
    array = np.frombuffer(content, stored).reshape(shape)
    return array.astype(dtype, copy=False)


def from_elements(name, elements, dtype, shape):
    """An input from as many elements as its shape has, bytes or numbers; `RestError` if one does not fit."""
    try:
        return np.fromiter(elements, object if dtype is bytes else dtype, math.prod(shape)).reshape(shape)
    except OverflowError as error:
        raise RestError(400, f"Input {shortened(name)}: an element does not fit {np.dtype(dtype).name}.") from error


def to_bytes(array):
    """The bytes of an output's elements."""
    if array.dtype.kind == "O":
        return b"".join(part for element in array.flat for part in (LENGTH.pack(len(element)), element))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _strings(name, content, count):
    """An array of `count` elements that have their lengths before them."""
    wrong = RestError(400, _wrong_size(name, content, f"{count} elements with four bytes of length before each"))
    if count * LENGTH.size > len(content):
        raise wrong
    elements, place = np.empty(count, object), 0
    for number in range(count):
        start = place + LENGTH.size
        place = start + (LENGTH.unpack_from(content, place)[0] if start <= len(content) else 0)
        if place > len(content):
            raise wrong
        elements[number] = bytes(content[start:place])
    if place != len(content):
        raise wrong
    return elements


def _wrong_size(name, content, expected):
    return f"Input {shortened(name)}: expecting {expected} but got: {len(content)} bytes"
