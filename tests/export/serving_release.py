"""What the TensorFlow of a TF Serving release makes of exports: run in an environment of its own (`make test-serving`).

    python serving_release.py operators FILE   write the operators of this TensorFlow, for export/serving/data
    python serving_release.py check BUNDLE     run every version by its C++ loader, and compare with the stored results

Needs TensorFlow alone.
"""

import gzip
import json
import sys
from pathlib import Path

import cpp_loader  # beside this file
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session


def operators(path):
    """Write "VERSION GRAPH_VERSION", then a line per operator: its name and its attributes."""
    listed = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    lines = sorted(" ".join([op.name, *sorted(attribute.name for attribute in op.attr)]) for op in listed.op)
    text = "\n".join([f"{tf.__version__} {tf.version.GRAPH_DEF_VERSION}", *lines]) + "\n"
    Path(path).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path}: {len(lines)} operators of TensorFlow {tf.__version__}")
    return 0


def check(bundle):
    """Print a line per version; returns 1 if the results of one differ from those stored in the bundle."""
    wrong = []
    for path in sorted(Path(bundle).glob("expected/*/*.json")):
        problems = differences(Path(bundle), path.parent.name, path.stem, json.loads(path.read_text(encoding="utf-8")))
        print(f"TensorFlow {tf.__version__}: {path.parent.name} version {path.stem}: {problems or 'as expected'}")
        wrong.extend(problems)
    return 1 if wrong else 0


def differences(bundle, name, version, expected):
    """The examples of a version whose results differ."""
    sys.path.insert(0, str(bundle))
    import client  # the bundle's own

    folder = bundle / "models" / name / version
    (library,) = Path(tf.sysconfig.get_lib()).glob("libtensorflow_cc.*")
    loader = cpp_loader.Loader(str(library), str(folder))
    signatures = meta_graph_pb2.MetaGraphDef.FromString(loader.meta_graph).signature_def
    files = [(bundle / "examples" / name / version / file).read_bytes() for file in expected["answers"]]

    def run(signature, outputs):
        fed = signatures[signature].inputs["image_bytes"].name
        return loader.run(fed, files, [signatures[signature].outputs[output].name for output in outputs])

    keys = ("classes", "scores", "class_ids")
    results = [dict(zip(keys, values)) for values in zip(*run("serving_default", keys))]
    reference = expected["answers"].items()
    wrong = [f for (f, w), result in zip(reference, results) if not client.alike(result, w, expected["tolerance"])]
    if "features" in signatures:
        (embedding,) = run("features", ["embedding"])
        wrong += [f"embedding of {f}" for (f, w), e in zip(reference, embedding) if any(e) != (w["class_ids"][0] >= 0)]
    return wrong


if __name__ == "__main__":
    sys.exit({"operators": operators, "check": check}[sys.argv[1]](sys.argv[2]))
