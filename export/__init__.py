"""From a trained model to something that runs without this library.

model         what is exported: the model in float32 with its preprocessing and labels, and the functions to trace
parity        the check that an artifact gives what the Keras model gives, in a process without this library
serving       the bundle that TF Serving starts from: SavedModel, configuration, client and stored examples
devserver     `keras-vit serve`: TF Serving's REST interface and a page to try models on, for development
edge          .tflite files for phones and small computers: conversion, quantization, metadata, example
web           a page that classifies images in the browser, with the .tflite file that it runs
interchange   ONNX and OpenVINO files, by Keras' exporters
"""
