"""What the predictor runs besides Keras: a SavedModel's signatures, and the LiteRT interpreter.

Each becomes a function from a list of B prepared pictures to probabilities float32 (B, K).
TensorFlow and the interpreter are imported when first needed.
"""

import io
import os

import numpy as np

from keras_vit import quiet


def version_folder(path, name=None):
    """The folder with saved_model.pb: `path`, or its highest version, or that of the model `name` or its only one."""
    if (path / "saved_model.pb").is_file():
        return path
    versions = _versions(path)
    if versions:
        return max(versions, key=lambda folder: int(folder.name))
    models = sorted(entry for entry in (path / "models").iterdir() if _versions(entry))
    chosen = [model for model in models if model.name == name] or models
    if len(chosen) != 1:
        names = ", ".join(str(model) for model in models)
        raise ValueError(f"{path} holds {len(models)} models; name one of them: {names}.")
    return version_folder(chosen[0])


def _versions(path):
    if not path.is_dir():
        return []
    numbered = [entry for entry in path.iterdir() if entry.name.isdigit()]
    return [entry for entry in numbered if (entry / "saved_model.pb").is_file()]


def is_saved_model(path):
    below = (path / "models").iterdir() if (path / "models").is_dir() else ()
    return (path / "saved_model.pb").is_file() or bool(_versions(path)) or any(map(_versions, below))


def load_saved_model(folder):
    """`tf.saved_model.load`, with an error that names the folder."""
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{folder} cannot be loaded as a SavedModel: {error}") from error


def image_signature(loaded, folder):
    """predict_images as a function of prepared pictures, and its number of classes."""
    signature = loaded.signatures["predict_images"]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    output = "probabilities" if "probabilities" in outputs else next(iter(outputs))
    if len(inputs) != 1:
        raise ValueError(f"{folder}: predict_images must take one input. Received: {sorted(inputs)}.")
    ((name, tensor),) = inputs.items()

    def run(pictures):
        import tensorflow as tf

        images = tf.cast(np.stack(pictures), tensor.dtype)
        return signature(**{name: images})[output].numpy()

    run.loaded = loaded  # its variables live only as long as it does
    return run, outputs[output].shape[-1]


def parameters(loaded):
    """Numbers in the variables of a SavedModel's signatures; None where they are constants of the graph."""
    variables = {variable.ref() for signature in loaded.signatures.values() for variable in signature.variables}
    return sum(int(np.prod(reference.deref().shape)) for reference in variables) or None


def bytes_signature(loaded, folder, classes):
    """serving_default as a function of encoded pictures, whose scores are 0 but for the best k; and k."""
    signature = loaded.signatures["serving_default"]
    inputs = set(signature.structured_input_signature[1])
    if inputs != {"image_bytes"} or not {"scores", "class_ids"} <= set(signature.structured_outputs):
        raise ValueError(
            f"{folder}: serving_default must take image_bytes and give scores and class_ids. "
            f"It takes {sorted(inputs)} and gives {sorted(signature.structured_outputs)}."
        )

    def run(pictures):
        import tensorflow as tf

        answer = signature(image_bytes=tf.constant(pictures))
        probabilities = np.zeros((len(pictures), classes), "float32")
        np.put_along_axis(probabilities, answer["class_ids"].numpy(), answer["scores"].numpy(), 1)
        return probabilities

    run.loaded = loaded
    return run, signature.structured_outputs["scores"].shape[-1] or 1  # if it is not told, the best one is sure


def as_png(image):
    """uint8 (H, W, 3) -> the bytes of a PNG, for a model that decodes by itself."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def tflite(path, spec):
    """A `.tflite` file as a function of prepared pictures, and its number of classes."""
    interpreter = _interpreter(path)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shapes = [tuple(int(n) for n in tensor["shape"]) for tensor in (*inputs, *outputs)]
    if len(inputs) != 1 or len(outputs) != 1 or shapes[0] != (1, *spec.size, 3):
        raise ValueError(
            f"{path} must take one picture of shape {(1, *spec.size, 3)} and give one output. "
            f"It has {len(inputs)} inputs and {len(outputs)} outputs, of the shapes {shapes}."
        )

    def run_one(picture):
        interpreter.set_tensor(inputs[0]["index"], _quantized(picture[None], inputs[0]))
        interpreter.invoke()
        return _dequantized(interpreter.get_tensor(outputs[0]["index"]), outputs[0])

    def run(pictures):
        return np.concatenate([run_one(picture) for picture in pictures])

    return run, shapes[1][-1]


def _interpreter(path):
    """The LiteRT interpreter, or TensorFlow's own where the package is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter
    if path.read_bytes()[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a TFLite file.")
    try:
        with quiet.loading():
            interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be loaded as a TFLite file: {error}") from error
    return interpreter


def _quantized(values, details):
    """Real values as the tensor stores them: q = x / scale + zero_point for whole numbers."""
    dtype, (scale, zero_point) = np.dtype(details["dtype"]), details["quantization"]
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / (scale or 1) + zero_point), limits.min, limits.max).astype(dtype)


def _dequantized(values, details):
    scale, zero_point = details["quantization"]
    if values.dtype.kind == "f":
        return values.astype("float32")
    return ((values.astype("float32") - zero_point) * (scale or 1)).astype("float32")
