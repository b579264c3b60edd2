"""int8 on trained weights, each rewrite alone and together:  python -m tests.real.quantized build/real [--csv FILE]

The class token of the backbone that tests/real/package.py took out of a package, for 100 crops of photographs that were
not calibrated on: the cosine between the token by the quantized file and by the float one. The first row of a
quantization is what litert-quantizer makes of the file as the converter writes it, the last but for dynamic layers what
`keras-vit convert` makes.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf

import keras_vit
from examples import tables
from keras_vit.export.edge import sensitivity
from keras_vit.export.edge.quantize import REWRITES, Quantizer, layer_name
from keras_vit.export.parity import parity
from keras_vit.models.family import IMAGENET
from keras_vit.prediction.tflite_interpreter import open_interpreter
from keras_vit.system.files import scratch_folder

ROOT = pathlib.Path(__file__).parents[2]
RANKED_ON, DYNAMIC = 8, 5  # crops to rank layers on; layers whose activations are quantized at run time


def float_file(weights, side, folder):
    """The bytes of the backbone as a float .tflite file: pixels in, class token out."""
    model = keras_vit.models.DINOv2S(include_top=False, weights=weights, input_shape=(side, side, 3), pooling="token")
    mean, std = (255 * np.array(one, "float32") for one in (IMAGENET.mean, IMAGENET.std))
    module = tf.Module()
    module.parameters = [weight.value for weight in model.weights]
    image = tf.TensorSpec((1, side, side, 3), tf.float32, name="image")

    def serve(image):  # the converter puts the output of this name first
        return {"probabilities": model((image - mean) / std, training=False)}

    module.serve = tf.function(serve, [image], autograph=False)
    tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": module.serve})
    script = ROOT / "export" / "edge" / "converter.py"
    parity.run_python(["-P", str(script), str(folder / "saved"), str(folder / "float.tflite")], "not converted")
    return (folder / "float.tflite").read_bytes()


def tokens(content, images, folder):
    """What a file gives, float64 (N, D)."""
    path = folder / "file.tflite"
    path.write_bytes(content)
    interpreter = open_interpreter(path, parity.cores())
    interpreter.allocate_tensors()
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    values = []
    for image in images:
        interpreter.set_tensor(given["index"], image[np.newaxis].astype(given["dtype"]))
        interpreter.invoke()
        values.append(interpreter.get_tensor(found["index"])[0].astype("float64"))
    return np.stack(values)


def worst(quantizer, quantization, images):
    """The DYNAMIC layers whose quantization alone changes the token most."""
    (_, [reference]), *others = quantizer.effects(quantization, images)
    errors = {layer: sensitivity.error(given, reference) for layer, [given] in others}
    return sorted(errors, key=errors.get, reverse=True)[:DYNAMIC]


def combinations(quantization):
    """(what a row is called, its rewrites): none, each alone, all that are used."""
    used = REWRITES[quantization]
    return [("none", ()), *((one, (one,)) for one in used), (" + ".join(used), used)]


def rows(folder):
    """The rows of the table."""
    crops = np.load(folder / "crops.npz")
    calibrated, checked = crops["calibrated"], crops["checked"]
    with scratch_folder() as scratch:
        scratch = pathlib.Path(scratch)
        content = float_file(folder / "timm.safetensors", checked.shape[1], scratch)
        reference = tokens(content, checked, scratch)
        for quantization in ("dynamic_int8", "int8"):
            for name, rewrites in combinations(quantization):
                quantizer = Quantizer(content, calibrated, rewrites=rewrites)
                last = quantization == "int8" and rewrites == REWRITES["int8"]
                for kept in ((), worst(quantizer, quantization, calibrated[:RANKED_ON])) if last else ((),):
                    made = quantizer.quantized(quantization, kept)
                    given = tokens(made, checked, scratch)
                    norms = np.linalg.norm(given, axis=1) * np.linalg.norm(reference, axis=1)
                    cosines = (given * reference).sum(1) / norms
                    yield {
                        "quantization": quantization,
                        "rewrites": name,
                        "dynamic_layers": " ".join(map(layer_name, kept)),
                        "mean": f"{cosines.mean():.5f}",
                        "percentile_5": f"{np.percentile(cosines, 5):.5f}",
                        "smallest": f"{cosines.min():.5f}",
                        "of_float_size": f"{len(made) / len(content):.3f}",
                    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path)
    options, found = parser.parse_args(), []
    for row in rows(options.folder):
        found.append(row)
        print("  ".join(row.values()), flush=True)
    if options.csv:
        tables.write(found, options.csv)


if __name__ == "__main__":
    main()
