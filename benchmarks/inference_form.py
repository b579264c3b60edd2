"""The inference form against the model itself:  python -m benchmarks.inference_form [--models NAME ...] [--csv FILE]

    SavedModel             predict_images as `keras-vit export` writes it: the form, its weights in variables
    SavedModel, constants  the same with the weights as constants of the graph
    SavedModel, model      the model itself, as was written before
    predict                `predict_on_batch`, as `Predictor` runs a Keras model, by XLA where `system.xla` says so
    predict, form          the form in a TensorFlow graph
    predict, form, XLA     the form, compiled where predict is

The sides alternate in one process; medians over the rounds are compared, and reported with the 10th and 90th
percentile. A form is below 1 where it takes less time than the model. Weights are random; the images are black.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import peers, processes, report
from keras_vit.export.model.inference import outputs
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.models import VARIANTS
from keras_vit.tf_graph.inference_form import inference_form

MODELS = peers.MODELS
COMPARED = {  # side: what it is compared with
    "SavedModel": "SavedModel, model",
    "SavedModel, constants": "SavedModel, model",
    "predict, form": "predict",
    "predict, form, XLA": "predict",
}
MODULE = "benchmarks.inference_form"


def onednn():
    """Whether TensorFlow computes with oneDNN in this process."""
    from tensorflow.python.framework.test_util import IsMklEnabled

    return "oneDNN on" if IsMklEnabled() else "oneDNN off"


def saved(compute, variables, shape, folder):
    """predict_images of a SavedModel of a function, written and loaded."""
    module, images = tf.Module(), tf.TensorSpec([None, *shape], tf.float32, name="images")
    module.variables_of_it = list(variables)
    module.predict = tf.function(lambda images: dict(compute(images)), [images], autograph=False)
    tf.saved_model.save(module, str(folder), {"predict_images": module.predict})
    return tf.saved_model.load(str(folder))


def sides(name, batch, folder):
    """{side: a function that predicts a batch}."""
    variant = VARIANTS[name]
    model, shape = variant(weights=None), (*variant.image_size, 3)
    compute = outputs(ExportedModel(model, variant.spec, tuple(map(str, range(1000))), name))
    form, of_model = inference_form(compute, shape), inference_form(model)
    written = {
        "SavedModel": (form.function(), form.variables),
        "SavedModel, constants": (form.function(constants=True), ()),
        "SavedModel, model": (compute, [weight.value for weight in model.weights]),
    }
    images = np.zeros((batch, *shape), "float32")
    constant, found = tf.constant(images), {}
    for number, (side, (function, variables)) in enumerate(written.items()):
        loaded = saved(function, variables, shape, Path(folder, str(number)))
        found[side] = lambda loaded=loaded: loaded.signatures["predict_images"](images=constant)[
            "probabilities"
        ].numpy()
    run = of_model.function()
    compiled = tf.function(lambda images: run(images), autograph=False, jit_compile=bool(model.jit_compile))
    found["predict"] = lambda: model.predict_on_batch(images)
    found["predict, form"] = lambda: run(tf.constant(images))["output"].numpy()
    if model.jit_compile:
        found["predict, form, XLA"] = lambda: compiled(tf.constant(images))["output"].numpy()
    return found


def measure(name, batch, rounds):
    """A row per side and what it is compared with."""
    with processes.served(MODULE, ("--serve", name, batch)) as served:
        times = report.alternate(served, rounds)
    for side, other in COMPARED.items():
        if side in times:
            facts = {"model": name, "batch": batch, "onednn": onednn(), "ours": side}
            yield from report.compare(facts, times, side, [other])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=VARIANTS, metavar="NAME")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 16], metavar="B")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    parity.on_cpu()
    if arguments.serve:
        with tempfile.TemporaryDirectory() as folder:
            name, batch = arguments.serve
            processes.serve(lambda: sides(name, int(batch), folder))
        return
    print(report.machine(), onednn(), sep="; ")
    rows = []
    for name in arguments.models:
        for batch in arguments.batch_sizes:
            rows += measure(name, batch, arguments.rounds)
            report.write(arguments.csv, rows)  # after every case: the whole takes long
    report.show(rows)


if __name__ == "__main__":
    main()
