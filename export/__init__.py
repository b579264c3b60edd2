"""From a trained model to something that runs without this library: TF Serving's SavedModel and TFLite files.

source       what is exported: a run folder, a `.keras` file or a name of the zoo, always in float32
saved_model  models/<name>/<version>/ for TF Serving
tflite       .tflite files for phones and small computers (converter: the subprocess; flatbuffer: what is in a file)
parity       each artifact, loaded again without this library (replay), against the Keras model
compare      accuracy, size and latency of artifacts side by side
"""
