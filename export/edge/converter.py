"""TensorFlow's converter, in a process of its own: it keeps memory until the process ends.

    python converter.py SAVED_MODEL FILE.tflite

The SavedModel's serving_default has static shapes. Its variables are frozen into constants first, so that tables
computed from weights fold, and the frozen function is saved once more, since only from a SavedModel does the
converter keep the names of inputs and outputs.
"""

import re
import sys
from pathlib import Path

from keras_vit.export.tflite_graph.flatbuffer import with_first_output
from keras_vit.system.files import temporaries_in

NEEDED = re.compile(r"^(?:Flex|Custom|TF Select) ops: (.+)$", re.MULTILINE)
NODE = r'fused\["{operator}:", "([^"@]+)'


def main(saved_model, path):
    """Convert the folder to the file; if the converter fails, the reason is the last line of stderr."""
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    folder = f"{path}.frozen"  # like the file, in a scratch folder of the caller, who removes it
    freeze(saved_model, folder)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except ConverterError as error:
        sys.exit(unsupported(str(error)) or explained(str(error)))
    with open(path, "wb") as file:
        file.write(with_first_output(content, "probabilities"))


def freeze(saved_model, folder):
    """Save serving_default of a SavedModel again with its variables as constants, its names kept."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(saved_model)  # owns the variables until they are frozen
    signature = loaded.signatures["serving_default"]
    frozen = convert_variables_to_constants_v2(signature)
    [(name, image)] = signature.structured_input_signature[1].items()
    names = sorted(signature.structured_outputs)  # the order of a function's outputs
    module = tf.Module()
    module.serve = tf.function(lambda **inputs: dict(zip(names, frozen(inputs[name]))), autograph=False)
    concrete = module.serve.get_concrete_function(**{name: tf.TensorSpec(image.shape, image.dtype, name=name)})
    with temporaries_in(Path(folder).parent):
        tf.saved_model.save(module, folder, signatures={"serving_default": concrete})


def unsupported(message):
    """Operators that TFLite lacks and their layers, from the converter's message; "" if it is about something else."""
    operators = sorted({name.strip() for names in NEEDED.findall(message) for name in names.split(",")})
    parts = []
    for operator in operators:
        nodes = sorted(set(re.findall(NODE.format(operator=re.escape(operator)), message)))
        layers = [node.removeprefix("StatefulPartitionedCall/").rpartition("/")[0] or node for node in nodes]
        parts.append(f"{operator} (in {', '.join(layers)})" if layers else operator)
    return "operators that TFLite's runtimes lack: " + "; ".join(parts) if parts else ""


def explained(message):
    """The converter's first error and its layer, without the stack of locations around them."""
    first = next((line for line in message.splitlines() if "error:" in line), message)
    node = re.search(NODE.format(operator='[^":]+'), first)
    reason = first.rpartition("): ")[2] or first
    return f"in {node[1].removeprefix('StatefulPartitionedCall/')}, {reason}" if node else reason


if __name__ == "__main__":
    main(*sys.argv[1:])
