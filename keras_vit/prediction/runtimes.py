"""What the predictor runs besides Keras: a SavedModel's signatures, and the LiteRT interpreter.

Each becomes a function from a list of B prepared images to probabilities float32 (B, K). Of a model that can tell
unknown images, its attribute `known` is the function to (probabilities, score of each image, float32 (B,)).
TensorFlow and the interpreter are imported when first needed.
"""

import io
import os

import numpy as np

from keras_vit.prediction.tflite_interpreter import (
    KNOWN_SCORE,
    SIGNATURE,
    dequantized,
    known_index,
    open_interpreter,
    quantized,
)
from keras_vit.system import startup
from keras_vit.system.files import refuse_pattern


def load_saved_model(folder):
    """`tf.saved_model.load`, with an error that names the folder."""
    import tensorflow as tf

    refuse_pattern(folder)
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{folder} cannot be loaded as a SavedModel: {error}") from error


def image_signature(loaded, folder):
    """predict_images as a function of prepared images, and its number of classes."""
    signature = loaded.signatures["predict_images"]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    output = "probabilities" if "probabilities" in outputs else next(iter(outputs))
    of_files = loaded.signatures["serving_default"].structured_outputs if "serving_default" in loaded.signatures else ()
    if "decoded" in of_files and "scores" not in of_files:
        raise ValueError(_not_classes(folder, outputs))
    if len(inputs) != 1:
        raise ValueError(f"{folder}: predict_images must take one input. Received: {sorted(inputs)}.")
    ((name, tensor),) = inputs.items()

    def call(pixels):
        import tensorflow as tf

        return signature(**{name: tf.cast(np.stack(pixels), tensor.dtype)})

    def run(pixels):
        return call(pixels)[output].numpy()

    def known(pixels):
        found = call(pixels)
        return found[output].numpy(), found[KNOWN_SCORE].numpy()

    run.loaded = loaded  # its variables live only as long as it does
    run.known = known if KNOWN_SCORE in outputs else None
    return run, outputs[output].shape[-1]


def _not_classes(path, outputs):
    return (
        f"{path} gives features ({', '.join(sorted(outputs))}), not classes. `keras-vit compare` runs it beside its "
        "model, and `keras-vit embed` embeds images with that model."
    )


def parameters(loaded):
    """Number of a SavedModel's parameters: that it states, else of its signatures' variables; None if it has neither.

    What `keras_vit.export` writes states it: layers are folded into each other, and small weights are constants.
    """
    if hasattr(loaded, "parameter_count"):
        return int(loaded.parameter_count)
    return sum(int(np.prod(variable.shape)) for variable in _variables(loaded)) or None


def weights_file(loaded, folder):
    """The file that holds a SavedModel's weights: its variables' data, or the graph that has them as constants."""
    if not _variables(loaded):
        return folder / "saved_model.pb"
    return min(folder.glob("variables/variables.data-*"), default=None)


def _variables(loaded):
    """The variables that the signatures take, each once."""
    found = {variable.ref() for signature in loaded.signatures.values() for variable in signature.variables}
    return [reference.deref() for reference in found]


def bytes_signature(loaded, folder, classes):
    """serving_default as a function of encoded images, with scores of 0 except for those that it gives; and k."""
    signature = loaded.signatures["serving_default"]
    inputs = set(signature.structured_input_signature[1])
    if inputs != {"image_bytes"} or not {"scores", "class_ids"} <= set(signature.structured_outputs):
        raise ValueError(
            f"{folder}: serving_default must take image_bytes and return scores and class_ids. "
            f"It takes {sorted(inputs)} and returns {sorted(signature.structured_outputs)}."
        )

    def call(images):
        import tensorflow as tf

        outputs = signature(image_bytes=tf.constant(images))
        probabilities = np.zeros((len(images), classes), "float32")
        numbers, scores = outputs["class_ids"].numpy(), outputs["scores"].numpy()
        given = numbers >= 0  # -1: no class, the image has fewer
        probabilities[np.nonzero(given)[0], numbers[given]] = scores[given]
        return probabilities, outputs

    def known(images):
        probabilities, outputs = call(images)
        return probabilities, outputs[KNOWN_SCORE].numpy()

    def run(images):
        return call(images)[0]

    run.loaded = loaded
    run.known = known if KNOWN_SCORE in signature.structured_outputs else None
    return run, signature.structured_outputs["scores"].shape[-1] or 1  # of unknown width: at least the best one


def as_png(image):
    """uint8 (H, W, 3) -> the bytes of a PNG, for a model that decodes images itself."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def tflite(path):
    """A `.tflite` file as a function of prepared images, its number of classes, and the size (H, W) of its images."""
    interpreter = checked_interpreter(path)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    names = interpreter.get_signature_list().get(SIGNATURE, {}).get("outputs", ())
    if len(names) > 2 or set(names) & {"embedding", "map", "tokens"}:
        raise ValueError(_not_classes(path, names))
    scores = [tensor for tensor in outputs if tensor["index"] == known_index(interpreter)]
    outputs = [tensor for tensor in outputs if tensor not in scores]
    shapes = [tuple(int(n) for n in tensor["shape"]) for tensor in (*inputs, *outputs)]
    if len(inputs) != 1 or len(outputs) != 1 or len(shapes[0]) != 4 or (shapes[0][0], shapes[0][3]) != (1, 3):
        raise ValueError(
            f"{path} must take one image of shape (1, H, W, 3) and have one output, or {KNOWN_SCORE} besides. "
            f"It has {len(inputs)} inputs and {len(outputs)} outputs, of the shapes {shapes}."
        )

    def run_one(image):
        interpreter.set_tensor(inputs[0]["index"], quantized(image[None], inputs[0]))
        interpreter.invoke()
        return [dequantized(interpreter.get_tensor(tensor["index"]), tensor) for tensor in (*outputs, *scores)]

    def run(images):
        return np.concatenate([run_one(image)[0] for image in images])

    def known(images):
        probabilities, scores = zip(*map(run_one, images))
        return np.concatenate(probabilities), np.concatenate(scores)[:, 0]

    run.known = known if scores else None
    return run, shapes[1][-1], shapes[0][1:3]


def checked_interpreter(path):
    """The interpreter of a file, with errors that name the file."""
    if path.read_bytes()[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a TFLite file.")
    try:
        with startup.quiet():
            return open_interpreter(path, os.cpu_count())
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be loaded as a TFLite file: {error}") from error
