"""From a trained model to something that runs without this library.

model         what is exported: the model in float32 with its preprocessing and labels, and the functions to trace
parity        the check that an artifact gives what the Keras model gives, in a process without this library
serving       the bundle that TF Serving starts from: SavedModel, configuration, client and stored examples
servers       folders for Triton, OpenVINO Model Server and KServe
devserver     `keras-vit serve`: REST, the Open Inference Protocol, gRPC and a page to try models on, for development
edge          .tflite files for phones and small computers: conversion, quantization, metadata, example
web           a page that classifies images in the browser, with the .tflite file that it runs
interchange   ONNX and OpenVINO files, by Keras' exporters

    from keras_vit.export import inference_form
    form = inference_form(model)  # the same function, what does not depend on the image computed once
    form.function()(images)["output"]
"""

import importlib

_HOME = {  # public name -> the module that has it, which is imported when the name is first used
    "inference_form": "keras_vit.tf_graph.inference_form",
}


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'keras_vit.export' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value
