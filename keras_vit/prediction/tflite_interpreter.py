"""The interpreter of .tflite files, and the integers at their ends.

Nothing of this library is imported here: `export/parity/replay.py` loads this file by its path in a process that cannot
import keras_vit.
"""

import numpy as np


def open_interpreter(path, threads):
    """LiteRT's interpreter of a file, or TensorFlow's where ai-edge-litert is not installed; it runs on the CPU.

    Raises:
        ValueError, RuntimeError: if the file cannot be loaded.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def signature_predictor(interpreter):
    """The file's signature "serving_default" as a function.

    Returns:
        images (1, H, W, 3) in [0, 255] -> probabilities (1, K), float32.
    """
    run = interpreter.get_signature_runner("serving_default")
    image, probabilities = run.get_input_details()["image"], run.get_output_details()["probabilities"]

    def predict(pixels):
        return dequantized(run(image=quantized(pixels, image))["probabilities"], probabilities)

    return predict


def quantized(values, details):
    """Real values as the tensor stores them: q = x / scale + zero_point, rounded, for an integer type."""
    dtype, (scale, zero_point) = np.dtype(details["dtype"]), details["quantization"]
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / (scale or 1) + zero_point), limits.min, limits.max).astype(dtype)


def dequantized(values, details):
    """A tensor's values as float32: x = (q - zero_point) * scale for an integer type."""
    if values.dtype.kind == "f":
        return values.astype("float32")
    scale, zero_point = details["quantization"]
    return (values.astype("float32") - zero_point) * np.float32(scale or 1)
