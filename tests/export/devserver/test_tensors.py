"""Elements as bytes, by Triton's binary tensor data extension: the byte strings here are written by hand."""

import numpy as np
import pytest

from keras_vit.export.devserver import tensors
from keras_vit.export.devserver.rest import RestError

STORED = [
    (np.float32, b"\0\0\x80\x3f\0\0\0\xc0", [1, -2]),
    (np.float64, b"\0\0\0\0\0\0\xf0\x3f", [1]),
    (np.float16, b"\0\x3c\0\xc0", [1, -2]),
    (np.int32, b"\1\0\0\0\xff\xff\xff\xff", [1, -1]),
    (np.int64, b"\0\1\0\0\0\0\0\0", [256]),
    (np.uint8, b"\0\x7f\xff", [0, 127, 255]),
    (np.uint16, b"\0\1", [256]),
    (np.bool_, b"\0\1\1", [False, True, True]),
    (bytes, b"\2\0\0\0\xff\0\0\0\0\0\1\0\0\0b", [b"\xff\0", b"", b"b"]),
    (np.float32, b"", []),
    (bytes, b"", []),
]


@pytest.mark.parametrize("dtype, content, elements", STORED)
def test_bytes_of_elements(dtype, content, elements):
    array = tensors.from_bytes("x", memoryview(content), dtype, (len(elements),))
    assert array.tolist() == elements and array.dtype == (object if dtype is bytes else dtype)
    assert tensors.to_bytes(array) == content


def test_elements_of_messages():
    assert tensors.from_elements("x", [b"a", b"", b"\xff", b"b"], bytes, (2, 2)).tolist() == [
        [b"a", b""],
        [b"\xff", b"b"],
    ]
    assert tensors.from_elements("x", [True, False], np.bool_, (2,)).dtype == bool
    assert tensors.from_elements("x", [0, 255], np.uint8, (1, 2)).tolist() == [[0, 255]]
    with pytest.raises(RestError, match="Input x: an element does not fit int8"):
        tensors.from_elements("x", [0, 128], np.int8, (2,))


def test_rows_come_one_after_the_other():
    content = bytes(range(6))
    array = tensors.from_bytes("x", content, np.uint8, (2, 3))
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors.to_bytes(np.asfortranarray(array)) == content
    big_endian = np.array([[1, 2], [3, 4]], ">i2")
    assert tensors.to_bytes(big_endian) == b"\1\0\2\0\3\0\4\0"
    words = tensors.from_bytes("x", b"\1\0\0\0a\1\0\0\0b", bytes, (2, 1))
    assert words.tolist() == [[b"a"], [b"b"]]


@pytest.mark.parametrize(
    "dtype, content, shape",
    [
        (np.float32, b"\0" * 7, (2,)),
        (np.float32, b"\0" * 12, (2,)),
        (np.bool_, b"", (1,)),
        (bytes, b"", (1,)),
        (bytes, b"\0\0\0", (1,)),
        (bytes, b"\1\0\0\0", (1,)),
        (bytes, b"\xff\xff\xff\xff" + b"a" * 9, (1,)),
        (bytes, b"\0\0\0\0a", (1,)),
        (bytes, b"\0\0\0\0" * 2, (1,)),
        (bytes, b"\4\0\0\0aaaa", (2,)),  # room for two lengths, but one element takes it
        (bytes, b"\5\0\0\0aaaaa", (2,)),
        (bytes, b"\0\0\0\0", (2**31 - 1,)),
    ],
)
def test_bytes_of_other_sizes_are_refused(dtype, content, shape):
    with pytest.raises(RestError, match=f"Input x: expecting .* but got: {len(content)} bytes") as error:
        tensors.from_bytes("x", content, dtype, shape)
    assert error.value.status == 400


def test_names_of_data_types_and_shapes():
    inputs = {"a": (np.float32, (None, 16, 3)), "b": (bytes, (None,)), "c": (np.bool_, ()), "d": (np.int64, (2,))}
    assert tensors.described(inputs) == [
        {"name": "a", "datatype": "FP32", "shape": [-1, 16, 3]},
        {"name": "b", "datatype": "BYTES", "shape": [-1]},
        {"name": "c", "datatype": "BOOL", "shape": []},
        {"name": "d", "datatype": "INT64", "shape": [2]},
    ]


def test_data_types_are_not_converted():
    tensors.check_datatype("x", "UINT8", np.uint8)
    for given in ("UINT8", "fp32", None, ["FP32"], {}):
        with pytest.raises(RestError, match="Input x: expecting datatype 'FP32' but got: "):
            tensors.check_datatype("x", given, np.float32)


def test_shapes():
    assert tensors.checked_shape("x", [2, 5, 7, 3], (None, None, None, 3)) == (2, 5, 7, 3)
    assert tensors.checked_shape("x", (0,), (None,)) == (0,)
    assert tensors.checked_shape("x", [], ()) == ()


@pytest.mark.parametrize(
    "given, problem",
    [
        ([1, 5, 5, 1], r"expecting shape \[\?,\?,\?,3\] but got: \[1,5,5,1\]"),
        ([1, 5, 3], "expecting shape"),
        ([1] * 10**4, "expecting shape .* but got: .{1,110}$"),
        ([2**31, 1, 1, 3], "at most 2147483647 along a dimension"),
        ([10**300, 1, 1, 3], "at most"),
        ([0, 2**20, 2**20, 3], "has no elements"),
        ([1, 0, 2**20, 3], "has no elements"),
        ([-1, 5, 5, 3], "list of whole numbers"),
        ([1.0, 5, 5, 3], "list of whole numbers"),
        ([True, 5, 5, 3], "list of whole numbers"),
        (["1", 5, 5, 3], "list of whole numbers"),
        ([[1], 5, 5, 3], "list of whole numbers"),
        (None, "list of whole numbers"),
        ({"a": 1}, "list of whole numbers"),
    ],
)
def test_shapes_that_are_refused(given, problem):
    with pytest.raises(RestError, match=f"Input x: .*{problem}") as error:
        tensors.checked_shape("x", given, (None, None, None, 3))
    assert error.value.status == 400 and len(str(error.value)) < 300
