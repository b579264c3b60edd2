"""Run a SavedModel as TF Serving does: by TensorFlow's C++ loader and session, here through its C interface.

    python cpp_loader.py LIBRARY SAVED_MODEL NAMES IMAGE ...    prints a line of JSON: the outputs of serving_default

No Python package is imported, TensorFlow's neither: LIBRARY is its libtensorflow_cc.so.2.
"""

import ctypes
import json
import sys
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

FLOAT, STRING = 1, 7  # of TF_DataType; 3 is a 32-bit integer
SIZEOF_STRING = 24  # of a TF_TString


class Output(ctypes.Structure):
    """A TF_Output: an operation and the index of its output."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


class Buffer(ctypes.Structure):
    """A TF_Buffer."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


RESULTS = {  # of the functions that give something other than an int
    **dict.fromkeys(["TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel"], c_void_p),
    **dict.fromkeys(["TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData"], c_void_p),
    "TF_NewBuffer": POINTER(Buffer),
    "TF_Dim": c_int64,
    "TF_Message": c_char_p,
    "TF_StringGetDataPointer": c_void_p,
    "TF_StringGetSize": c_size_t,
}


class Loader:
    """A SavedModel in a C++ session."""

    def __init__(self, library, folder):
        self._tf = ctypes.CDLL(library)
        for name, result in RESULTS.items():
            getattr(self._tf, name).restype = result
        self._status, self._graph = c_void_p(self._tf.TF_NewStatus()), c_void_p(self._tf.TF_NewGraph())
        options, tags, meta = (
            c_void_p(self._tf.TF_NewSessionOptions()),
            (c_char_p * 1)(b"serve"),
            self._tf.TF_NewBuffer(),
        )
        self._session = c_void_p(
            self._tf.TF_LoadSessionFromSavedModel(
                options, None, folder.encode(), tags, 1, self._graph, meta, self._status
            )
        )
        self._check()
        self.meta_graph = ctypes.string_at(meta.contents.data, meta.contents.length)

    def run(self, feed, images, fetches):
        """The outputs named in `fetches` ("name:index") for encoded images fed into `feed`, as lists."""
        inputs, outputs = (Output * 1)(self._output(feed)), (Output * len(fetches))(*map(self._output, fetches))
        tensors, given = (c_void_p * len(fetches))(), (c_void_p * 1)(self._strings(images))
        self._tf.TF_SessionRun(
            self._session, None, inputs, given, 1, outputs, tensors, len(fetches), None, 0, None, self._status
        )
        self._check()
        return [self._list(c_void_p(tensor)) for tensor in tensors]

    def _check(self):
        if self._tf.TF_GetCode(self._status):
            raise RuntimeError(self._tf.TF_Message(self._status).decode())

    def _output(self, name):
        name, _, index = name.partition(":")
        return Output(self._tf.TF_GraphOperationByName(self._graph, name.encode()), int(index))

    def _strings(self, texts):
        dims = (c_int64 * 1)(len(texts))
        tensor = c_void_p(self._tf.TF_AllocateTensor(STRING, dims, 1, c_size_t(SIZEOF_STRING * len(texts))))
        start = self._tf.TF_TensorData(tensor)
        for place, text in enumerate(texts):
            string = c_void_p(start + SIZEOF_STRING * place)
            self._tf.TF_StringInit(string)
            self._tf.TF_StringCopy(string, text, c_size_t(len(text)))
        return tensor

    def _list(self, tensor):
        """A tensor (B, k) of strings, whole numbers or floats as lists."""
        rows, columns = (self._tf.TF_Dim(tensor, axis) for axis in (0, 1))
        start, kind = self._tf.TF_TensorData(tensor), self._tf.TF_TensorType(tensor)
        if kind == STRING:
            flat = [self._text(c_void_p(start + SIZEOF_STRING * place)) for place in range(rows * columns)]
        else:
            flat = list(((ctypes.c_float if kind == FLOAT else ctypes.c_int32) * (rows * columns)).from_address(start))
        return [flat[row * columns : (row + 1) * columns] for row in range(rows)]

    def _text(self, string):
        size = self._tf.TF_StringGetSize(string)
        return ctypes.string_at(self._tf.TF_StringGetDataPointer(string), size).decode()


def main(library, folder, names, *files):
    """Print what NAMES, {"input": tensor, "outputs": {name: tensor}}, names; the file "-" is not an image."""
    names = json.loads(names)
    images = [b"no image" if file == "-" else Path(file).read_bytes() for file in files]
    outputs = Loader(library, folder).run(names["input"], images, list(names["outputs"].values()))
    print(json.dumps({"modules": sorted(sys.modules), **dict(zip(names["outputs"], outputs))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
