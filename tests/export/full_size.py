"""Every variant of up to 100 M parameters as .tflite:  python -m tests.export.full_size [--models NAME] [--csv FILE]

The smallest of each family in every quantization, the others in float32. Synthetic weights, as in the records of
parity; images: scikit-learn's two photographs, whole and cropped, and noise. The classes of such a model have close
probabilities, so files are checked by the cosine of their logits. Files beyond their limits are written and marked; a
file that breaks the contract (Flex, operators, rank) ends the script with an error. The CSV keeps the rows of files
that are not made this time.

--gpu rewrites the float files of models at 224 x 224 for LiteRT's GPU delegate instead, and emulates them in float16.
"""

import argparse
import csv
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from keras_vit.system import startup

startup.set_environment("3")  # before TensorFlow is imported

import keras  # noqa: E402
import numpy as np  # noqa: E402

from keras_vit.export.edge import calibration, gpu, target, tflite  # noqa: E402
from keras_vit.export.edge.quantizations import QUANTIZATIONS  # noqa: E402
from keras_vit.export.edge.quantize import layer_name  # noqa: E402
from keras_vit.export.model.source import ExportedModel  # noqa: E402
from keras_vit.export.parity import parity  # noqa: E402
from keras_vit.export.parity.images import noise_images  # noqa: E402
from keras_vit.export.tflite_graph import half  # noqa: E402
from keras_vit.export.tflite_graph.graph import Graph  # noqa: E402
from keras_vit.export.tflite_graph.ranges import observed  # noqa: E402
from keras_vit.models import VARIANTS  # noqa: E402
from keras_vit.training.run.logs import write_csv  # noqa: E402
from tests.golden.seeded import seeded  # noqa: E402

MOST = 100_000_000  # parameters
OF_GPUS = (  # a model per family and mechanism
    *("ViTS16", "ViTRTi16", "DeiTSDistilled", "DeiT3S", "DINOv2S", "SwinT", "ConvNeXtT", "CoaTLiteTiny", "TNTS"),
    *("T2TViT14", "T2TViTT14", "PVTSmall", "PVTV2B2Li"),
)
COLUMNS = (
    *("model", "parameters", "pixels", "quant", "megabytes", "nodes", "max_rank", "partitions", "delegated_nodes"),
    *("largest_difference", "relative_difference", "cosine", "layers_kept_float", "within_limits"),
)


def names():
    """The models of at most MOST parameters, but for DINOv2's at 518 pixels, which were not converted yet."""
    return [n for n, variant in VARIANTS.items() if variant.parameters <= MOST and variant.family.name != "DINOv2"]


def smallest():
    """The smallest model of each family."""
    order = sorted(names(), key=lambda name: VARIANTS[name].parameters, reverse=True)
    return {VARIANTS[name].family.name: name for name in order}.values()


def fill(model):
    """Give every trainable weight synthetic values, as a matrix or kernel (outputs, inputs) where it is one."""
    for weight in model.trainable_weights:
        shape = tuple(weight.shape)
        if len(shape) < 2 or shape[0] == 1:
            weight.assign(seeded(weight.path, shape))
        else:
            weight.assign(np.moveaxis(seeded(weight.path, (shape[-1], *shape[:-1])), 0, -1))


def write_images(folder):
    """(path, None) of the photographs, whole and cropped, and of noise."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    images = noise_images(folder, 6)
    for number, pixels in enumerate(load_sample_images().images):
        image = Image.fromarray(pixels)
        width, height = image.size
        for part, box in enumerate([(0, 0, width, height), (0, 0, height, height), (width - height, 0, width, height)]):
            images.append((Path(folder, f"photograph_{number}_{part}.png"), None))
            image.crop(box).save(images[-1][0])
    return images


def convert(name, quantizations, folder):
    """A row per file of a model."""
    keras.backend.clear_session()
    variant = VARIANTS[name]
    model = variant(weights=None)
    fill(model)
    source = ExportedModel(model, variant.spec, tuple(map(str, range(1000))), name)
    expected = replace(parity.expect(source, write_images(folder)), kind="noise")
    calibrated = calibration.Calibration(expected.images, "given")
    report = tflite.convert(source, Path(folder, name), quantizations, expected, calibrated, force=True, runs=1)
    return [row(name, variant.image_size, file) for file in report["files"]]


def gpu_row(name, folder):
    """What the GPU delegate refuses of a model's float file before and after the rewrites, and float16 does to it."""
    keras.backend.clear_session()
    variant, path = VARIANTS[name], Path(folder, f"{name}.tflite")
    model = variant(weights=None, input_shape=(224, 224, 3))
    fill(model)
    source = ExportedModel(model, replace(variant.spec, size=(224, 224)), tuple(map(str, range(1000))), name)
    images = parity.expect(source, write_images(folder)).images
    tflite.run_converter(source, path, Path(folder, "static"))
    before = path.read_bytes()
    after = target.rewritten(before, images, images[:1])
    exact, given = (first_output(one, images, Path(folder)) for one in (before, after))
    emulated = half.emulate(after, images, Path(folder))
    found = target.compared({"probabilities": emulated.outputs[0]}, {"probabilities": exact})
    return {
        "model": name,
        "operators": len(Graph(before).operators),
        "operators_for_gpus": len(Graph(after).operators),
        "refused": len(gpu.refusals(before)),
        "refused_for_gpus": len(gpu.refusals(after)),
        "float32": f"{np.abs(given - exact).max() / exact.max():.1e}",
        "float16": f"{found['largest_difference'] / exact.max():.1e}" if found["cosine"] else "",
        "cosine": f"{found['cosine']:.6f}" if found["cosine"] else "",
        "overflow": layer_name(emulated.overflow[1]) if emulated.overflow else "",
    }


def first_output(content, images, folder):
    """What a file gives, float32 (N, K)."""
    graph = Graph(content)
    output = int(graph.main.outputs[0])
    return np.concatenate([values[output] for values in observed(graph, [output], images, folder)])


def row(name, size, file):
    """The cells of a file."""
    same = {column: file[column] for column in ("quant", "max_rank", "partitions", "delegated_nodes", "within_limits")}
    differences = {column: f"{file[column]:.1e}" for column in ("largest_difference", "relative_difference")}
    return {
        "model": name,
        "parameters": VARIANTS[name].parameters,
        "pixels": "x".join(map(str, size)),
        "megabytes": f"{file['size_bytes'] / 1e6:.1f}",
        "nodes": file["total_nodes"],
        "cosine": f"{file['cosine']:.5f}",
        "layers_kept_float": len(file["float_fallback_layers"]),
        **same,
        **differences,
    }


def merge(path, rows):
    """Write the rows in place of earlier ones of the same files, in the order of VARIANTS."""
    found = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            found = {(one["model"], one["quant"]): one for one in csv.DictReader(file)}
    found |= {(one["model"], one["quant"]): one for one in rows}
    order = sorted(found, key=lambda key: (list(VARIANTS).index(key[0]), QUANTIZATIONS.index(key[1])))
    write_csv(path, COLUMNS, [found[key] for key in order])


def for_gpus(models, path):
    """Print a `gpu_row` per model, and write them; 1 if a file is refused after all."""
    rows = []
    for name in models:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(gpu_row(name, folder))
        print("  ".join(f"{column} {value}" for column, value in rows[-1].items()), flush=True)
    if path:
        write_csv(path, list(rows[0]), rows)
    return 1 if any(one["refused_for_gpus"] for one in rows) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices={*names(), *OF_GPUS}, metavar="NAME")
    parser.add_argument("--gpu", action="store_true", help="rewrite the files for GPUs; --csv is written anew")
    parser.add_argument("--quant", nargs="+", choices=QUANTIZATIONS, help="of all models alike")
    parser.add_argument("--csv", type=Path, help="where to write the rows as well")
    arguments = parser.parse_args()
    parity.on_cpu()
    if arguments.gpu:
        return for_gpus(arguments.models or OF_GPUS, arguments.csv)
    beyond = 0
    for name in arguments.models or names():
        quantizations = arguments.quant or (QUANTIZATIONS if name in smallest() else ("none",))
        with tempfile.TemporaryDirectory() as folder:
            rows = convert(name, quantizations, folder)
        for one in rows:
            print("  ".join(f"{column} {value}" for column, value in one.items()), flush=True)
            beyond += not one["within_limits"]
        if arguments.csv:
            merge(arguments.csv, rows)
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
