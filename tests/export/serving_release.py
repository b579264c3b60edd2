"""What an older TensorFlow makes of an export: run in an environment of its own, that of TF Serving's release.

    python serving_release.py operators FILE   write what this TensorFlow knows: the data file of export/operators.py
    python serving_release.py check BUNDLE     load every model of a bundle, and ask it what its examples ask

Needs TensorFlow alone.
"""

import gzip
import sys
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session


def operators(path):
    """Write "VERSION GRAPH_VERSION", then a line per operator: its name and its attributes."""
    listed = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    lines = sorted(" ".join([op.name, *sorted(attribute.name for attribute in op.attr)]) for op in listed.op)
    text = "\n".join([f"{tf.__version__} {tf.version.GRAPH_DEF_VERSION}", *lines]) + "\n"
    Path(path).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path}: {len(lines)} operators of TensorFlow {tf.__version__}")


if __name__ == "__main__":
    {"operators": operators}[sys.argv[1]](sys.argv[2])
