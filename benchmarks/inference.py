"""Inference on a CPU:  python -m benchmarks.inference [--models NAME ...] [--batch-sizes 1 16] [--csv FILE]

A model of ours as its users call it (predict_on_batch, the exported SavedModel, predict, the model in a tf.function)
against timm's of the same architecture on PyTorch (eager, channels-last, compiled) and in ONNX Runtime, and against
keras.applications, keras-hub and keras-cv-attention-models (kecam) where those have it. The installed libraries
alternate on all cores, each in a process of its own; medians over the rounds are compared, and reported with the 10th
and 90th percentile. Weights are random; the images are black.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import peers, processes, report
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.export.serving.served import ServedModel
from keras_vit.models import VARIANTS

COUNTED = ("predict_on_batch", "SavedModel")  # compared with the peers; all are compared with the first
OURS = (*COUNTED, "predict", "tf.function")


def our_sides(name, batch, folder):
    """{side: a function that predicts a batch}, of OURS."""
    variant = VARIANTS[name]
    model = variant(weights=None)
    served = ServedModel(ExportedModel(model, variant.spec, tuple(map(str, range(1000))), name), 5, ())
    tf.saved_model.save(served, str(folder), signatures=served.signatures)
    signature = tf.saved_model.load(str(folder)).signatures["predict_images"]
    images = np.zeros((batch, *variant.image_size, 3), "float32")
    graph, constant = tf.function(model, autograph=False), tf.constant(images)
    return {
        "predict_on_batch": lambda: model.predict_on_batch(images),
        "SavedModel": lambda: signature(images=constant)["probabilities"].numpy(),
        "predict": lambda: model.predict(images, batch_size=batch, verbose=0),
        "tf.function": lambda: graph(constant, training=False).numpy(),
    }


def timm_sides(name, batch, folder):
    """The same for timm's model on PyTorch."""
    sides = {}
    for mode in peers.PYTORCH:
        with peers.leaving_out(f"timm {mode}"):
            sides[f"timm {mode}"] = peers.timm_side(name, batch, mode)
    return sides


def onnxruntime_sides(name, batch, folder):
    """The same for timm's model in ONNX Runtime."""
    exported = Path(folder, "timm.onnx")
    with peers.leaving_out("ONNX Runtime"):
        peers.export(name, exported, batch)
        return {"ONNX Runtime": peers.onnxruntime_side(exported, parity.cores())}
    return {}


def keras_sides(library):
    """The same for another Keras library's model, where it has one."""

    def sides(name, batch, folder):
        with peers.leaving_out(library):
            return {library: keras_side(peers.KERAS[name][library](), batch)}
        return {}

    return sides


OTHER_KERAS = dict.fromkeys(library for sides in peers.KERAS.values() for library in sides)
LIBRARIES = {"keras_vit": our_sides, "timm": timm_sides, "ONNX Runtime": onnxruntime_sides}
LIBRARIES |= {library: keras_sides(library) for library in OTHER_KERAS}


def keras_side(model, batch):
    """A function that predicts a batch with the model of another Keras library."""
    images = np.zeros((batch, *model.input_shape[1:]), "float32")
    return lambda: model.predict_on_batch(images)


def measure(name, batch, rounds):
    """A row per side of ours and side it is compared with."""
    libraries = [each for each in LIBRARIES if each not in OTHER_KERAS or each in peers.KERAS.get(name, {})]
    each = [("--serve", library, "--models", name, "--batch-sizes", batch) for library in libraries]
    with processes.served("benchmarks.inference", *each) as sides:
        times = report.alternate(sides, rounds)
    theirs = [side for side in times if side not in OURS]
    for side in OURS:
        others = (theirs if side in COUNTED else []) + ([COUNTED[0]] if side != COUNTED[0] else [])
        yield from report.compare({"model": name, "batch": batch, "ours": side}, times, side, others)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=peers.MODELS, choices=VARIANTS, metavar="NAME")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 16], metavar="B")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--serve", choices=LIBRARIES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    parity.on_cpu()
    if arguments.serve:
        with tempfile.TemporaryDirectory() as folder:
            build = LIBRARIES[arguments.serve]
            processes.serve(lambda: build(arguments.models[0], arguments.batch_sizes[0], folder))
        return
    print(report.machine())
    rows = [
        row for name in arguments.models for b in arguments.batch_sizes for row in measure(name, b, arguments.rounds)
    ]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
