"""The interpreter of .tflite files, and the integers at their ends.

Nothing of this library is imported here: `export/parity/replay.py` loads this file by its path in a process that cannot
import keras_vit.
"""

import numpy as np

SIGNATURE, KNOWN_SCORE = "serving_default", "known_score"  # the latter, of models that can tell unknown images


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


def signature_predictor(interpreter, outputs=("probabilities",)):
    """The file's signature "serving_default" as a function.

    Args:
        interpreter: of the file.
        outputs: names of those that are wanted.

    Returns:
        images (1, H, W, 3) in [0, 255] -> probabilities (1, K), float32; of several outputs a tuple of them.
    """
    run = interpreter.get_signature_runner(SIGNATURE)
    image, details = run.get_input_details()["image"], run.get_output_details()

    def predict(pixels):
        found = run(image=quantized(pixels, image))
        wanted = tuple(dequantized(found[name], details[name]) for name in outputs)
        return wanted if len(outputs) > 1 else wanted[0]

    return predict


def output_names(interpreter):
    """The names of the outputs of the file's signature."""
    return tuple(interpreter.get_signature_list()[SIGNATURE]["outputs"])


def known_index(interpreter):
    """Number of the tensor that is the score of a known image, (1, 1); None if the file has none."""
    if KNOWN_SCORE not in interpreter.get_signature_list().get(SIGNATURE, {}).get("outputs", ()):
        return None
    return interpreter.get_signature_runner(SIGNATURE).get_output_details()[KNOWN_SCORE]["index"]


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
