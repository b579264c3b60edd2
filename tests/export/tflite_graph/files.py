"""Files made of functions, and their outputs."""

import numpy as np
import tensorflow as tf

from keras_vit.prediction.tflite_interpreter import open_interpreter


def convert(function, *shapes):
    """A float .tflite file of a function of float32 tensors."""
    signature = [tf.TensorSpec(shape, "float32") for shape in shapes]
    concrete = tf.function(function, signature, autograph=False).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def outputs(content, images, tmp_path):
    """The first output of a file for each image, float32 (N, K)."""
    path = tmp_path / "run.tflite"
    path.write_bytes(content)
    interpreter = open_interpreter(path, 1)
    interpreter.allocate_tensors()
    (given,), found = interpreter.get_input_details(), []
    for image in images:
        interpreter.set_tensor(given["index"], image[np.newaxis].astype(given["dtype"]))
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    return np.concatenate(found)
