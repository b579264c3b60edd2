"""Classify images with the .tflite files of this folder; needs ai-edge-litert, numpy and pillow only.

pip install ai-edge-litert numpy pillow
python3 example.py image.jpg                        print the best classes
python3 example.py --model NAME_int8.tflite *.jpg   with another file than the most exact one
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
EXACT_FIRST = ("fp32", "fp16", "int16x8", "dynamic_int8", "int8")  # endings of the files' names


def main(argv=None):
    """Print the best classes of every image; returns 1 if one could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--model", type=Path, help="a .tflite file (default: the most exact one of this folder)")
    parser.add_argument("--top", type=int, default=5, help="classes per image (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: LiteRT's choice)")
    arguments = parser.parse_args(argv)
    spec = json.loads((HERE / "preprocessing.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    classify = open_model(arguments.model or most_exact(HERE), arguments.threads)
    status = 0
    for path in arguments.images:
        try:
            image = prepare(path, spec)
        except Exception as error:  # Pillow raises about a dozen kinds for damaged files
            print(f"example.py: {path} cannot be read: {error}", file=sys.stderr)
            status = 1
            continue
        scores = classify(image)
        print(path)
        best = np.argsort(-scores, kind="stable")[: arguments.top]
        width = max(len(labels[k]) for k in best)
        for k in best:
            print(f"  {labels[k]:{width}}  {100 * scores[k]:6.2f} %")
    return status


def most_exact(folder):
    """The .tflite file of the highest precision."""

    def inexactness(path):
        return next((place for place, end in enumerate(EXACT_FIRST) if path.stem.endswith(f"_{end}")), len(EXACT_FIRST))

    return min(sorted(folder.glob("*.tflite")), key=inexactness)


def prepare(path, spec):
    """An image's path -> uint8 (H, W, 3): upright, resized, its centre cropped."""
    image = read(path)
    H, W = spec["size"]
    height, width = resized(image.height, image.width, spec)
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    for size in ((width, image.height), (width, height)):  # the width first, as Pillow did before version 13
        image = image.resize(size, filters[spec["interpolation"]])
    left, top = round((width - W) / 2), round((height - H) / 2)
    return np.asarray(image.crop((left, top, left + W, top + H)))


def read(path):
    """An image's path -> a PIL image in RGB, upright; of 16 bits a channel the upper 8."""
    with Image.open(path) as file:
        sixteen_bits = file.mode.startswith("I;16") or file.mode == "I" and file.format in ("PNG", "PPM")
        image = ImageOps.exif_transpose(file)
    if sixteen_bits:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are 32-bit numbers (mode {image.mode}) of unknown range")
    return image.convert("RGB")


def resized(H0, W0, spec):
    """Height and width after resizing, before cropping."""
    h, w = (math.floor(side / spec["crop_pct"]) for side in spec["size"])
    if spec["crop_mode"] == "squash":  # the aspect ratio is not kept
        return h, w
    if h == w:
        short = min(H0, W0)
        return h * H0 // short, h * W0 // short
    ratio = min(H0 / h, W0 / w)
    return round(H0 / ratio), round(W0 / ratio)


def open_model(path, threads=None):
    """A function from an image, uint8 (H, W, 3), to probabilities (K)."""
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    [image], [probability] = interpreter.get_input_details(), interpreter.get_output_details()

    def classify(pixels):
        interpreter.set_tensor(image["index"], pixels[np.newaxis].astype(image["dtype"]))
        interpreter.invoke()
        values = interpreter.get_tensor(probability["index"])[0]
        if values.dtype == np.float32:
            return values
        scale, zero_point = probability["quantization"]
        return (values.astype(np.float32) - zero_point) * scale

    return classify


if __name__ == "__main__":
    sys.exit(main())
