"""Run the .tflite files of this folder on images; needs ai-edge-litert, numpy and pillow only.

pip install ai-edge-litert numpy pillow
python3 example.py image.jpg                        print the best classes, or of a model without classes its features
python3 example.py --model NAME_int8.tflite *.jpg   with another file than the most exact one
python3 example.py --accelerator gpu image.jpg      on the GPU, by LiteRT's CompiledModel

answers.json, where it is, says that an image may have several labels, and from which probability it has each; and below
which score the image is unknown: of none of the classes. index.npz, where it is, has vectors of images: the names of
the nearest are printed.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

HERE = Path(__file__).resolve().parent
EXACT_FIRST = ("fp32", "fp16", "int16x8", "dynamic_int8", "int8")  # endings of the files' names
MAX_PIXELS, MAX_SIDE = 2**30 // 12, 2**20  # of an image, and along one of its sides
LARGE = 2**22  # pixels between the two passes of a resize, for which memory counts more than Pillow's order
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def main(argv=None):
    """Print the best classes, or the features, of every image; returns 1 if one could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--model", type=Path, help="a .tflite file (default: the most exact one of this folder)")
    parser.add_argument(
        "--top", type=int, help="classes, or nearest vectors, per image (default: 5; of several labels, all it has)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: LiteRT's choice)")
    parser.add_argument(
        "--accelerator",
        choices=("cpu", "gpu", "npu"),
        help="run by LiteRT's CompiledModel on it (default: by LiteRT's Interpreter, on the CPU)",
    )
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, help="larger images are refused (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    spec = json.loads((HERE / "preprocessing.json").read_text(encoding="utf-8"))
    show = show_features(HERE) if not (HERE / "labels.txt").is_file() else show_classes(HERE)
    model = arguments.model or most_exact(HERE)
    if arguments.accelerator:
        run = open_compiled(model, arguments.accelerator, arguments.threads)
    else:
        run = open_model(model, arguments.threads)
    spec["size"] = image_size(model)
    status = 0
    for path in arguments.images:
        try:
            image = prepare(path, spec, arguments.max_pixels)
        except Exception as error:  # Pillow raises about a dozen kinds for damaged files
            print(f"example.py: {path} cannot be read: {error}", file=sys.stderr)
            status = 1
            continue
        outputs = run(image)
        print(path)
        show(outputs, arguments.top)
    return status


def show_classes(folder):
    """A function that prints the classes of an image."""
    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    answers = read_answers(folder)

    def show(outputs, top):
        scores, *known = outputs
        if known and known[0].item() < answers["unknown"]["threshold"]:
            print(f"  unknown: {answers['unknown']['score']} {known[0].item():.2f}")
        best = given(scores, answers, top)
        width = max((len(labels[k]) for k in best), default=0)
        for k in best:
            print(f"  {labels[k]:{width}}  {100 * scores[k]:6.2f} %")
        if not len(best):
            print("  none")

    return show


def show_features(folder):
    """A function that prints the nearest vectors of index.npz, or without one shapes and first numbers."""
    path = folder / "index.npz"
    stored = np.load(path) if path.is_file() else None
    names, vectors = (stored["names"], unit(stored["vectors"])) if stored else ((), None)

    def show(outputs, top):
        if vectors is None:
            for values in outputs:
                first = " ".join(f"{value:.4f}" for value in values.ravel()[:5])
                print(f"  {' x '.join(map(str, values.shape))}: {first} ...")
            return
        cosines = vectors @ unit(outputs[0])
        for k in np.argsort(-cosines, kind="stable")[: top or 5]:
            print(f"  {cosines[k]:.4f}  {names[k]}")

    return show


def unit(vectors):
    """Vectors (..., D), each divided by its length."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def read_answers(folder):
    """The content of answers.json; {} where there is none: an image has one label then."""
    path = folder / "answers.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def given(scores, answers, top=None):
    """Numbers of the classes that an image has, best first: with one label, those of the 5 best scores."""
    best = np.argsort(-scores, kind="stable")
    if not answers.get("multi_label"):
        return best[: top or 5]
    thresholds = np.array(answers.get("thresholds", len(scores) * [0.5]), np.float32)
    return best[scores[best] >= thresholds[best]][:top]


def most_exact(folder):
    """The .tflite file of the highest precision."""

    def inexactness(path):
        return next((place for place, end in enumerate(EXACT_FIRST) if path.stem.endswith(f"_{end}")), len(EXACT_FIRST))

    return min(sorted(folder.glob("*.tflite")), key=inexactness)


def prepare(path, spec, max_pixels=MAX_PIXELS):
    """An image's path -> uint8 (H, W, 3): upright, resized, its centre cropped.

    Only what the crop is made of is resized. The width comes first, as in Pillow before version 13, but where that
    would enlarge a tall image.
    """
    image = read(path, max_pixels)
    before, after, crop = (image.height, image.width), resized(image.height, image.width, spec), spec["size"]
    tall = spec["crop_mode"] == "squash" and before[0] * crop[1] > max(LARGE, crop[0] * before[1])
    first, second = (0, 1) if tall else (1, 0)
    down = spec.get("crop_rounding") == "down"
    spans = [
        central_span(*lengths, down) for lengths in zip(before, after, crop)
    ]  # of each axis, in pixels of the image
    scale = max(before[second] / after[second], 1)
    low = max(math.floor(spans[second][0] - 2 * scale) - 1, 0)  # what the second filter, two pixels wide, looks at
    high = min(math.ceil(spans[second][1] + 2 * scale) + 1, before[second])
    image = image.crop((0, low, image.width, high) if second == 0 else (low, 0, high, image.height))
    image = resize_axis(image, first, spans[first], crop[first], spec["interpolation"])
    start, end = spans[second]
    return np.asarray(resize_axis(image, second, (start - low, end - low), crop[second], spec["interpolation"]))


def central_span(before, after, crop, down=False):
    """The span [start, end) of a side of `before` pixels that becomes the central `crop` of `after` pixels."""
    first = (after - crop) // 2 if down else round((after - crop) / 2)
    return first * before / after, (first + crop) * before / after


def resize_axis(image, axis, span, length, interpolation):
    """Resize a span of the height (axis 0) or of the width (axis 1); the filter looks beyond it."""
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    start, end = max(span[0], 0), min(span[1], (image.height, image.width)[axis])
    size, box = [image.width, image.height], [0, 0, image.width, image.height]
    size[1 - axis], box[1 - axis], box[3 - axis] = length, start, end
    return image.resize(size, filters[interpolation], box)


def read(path, max_pixels=MAX_PIXELS):
    """An image's path -> a PIL image in RGB, upright; of 16 bits a channel the upper 8."""
    with Image.open(path) as file:
        if file.width * file.height > max_pixels or max(file.size) > MAX_SIDE:
            raise ValueError(f"it has {file.width} x {file.height} pixels; at most {max_pixels} are read")
        sixteen_bits = file.mode.startswith("I;16") or file.mode == "I" and file.format in ("PNG", "PPM")
        file.load()
        orientation = file.getexif().get(0x0112)
        image = file.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else file
    if sixteen_bits:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are 32-bit numbers (mode {image.mode}) of unknown range")
    return image if image.mode == "RGB" else image.convert("RGB")


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


def image_size(path):
    """[H, W] in pixels of the images that a file takes: files of several sizes may lie in a folder."""
    return [int(side) for side in Interpreter(str(path)).get_input_details()[0]["shape"][1:3]]


def open_model(path, threads=None):
    """A function from an image, uint8 (H, W, 3), to the outputs: probabilities (K), or features."""
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    [image], outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pixels):
        interpreter.set_tensor(image["index"], pixels[np.newaxis].astype(image["dtype"]))
        interpreter.invoke()
        return [as_float(interpreter.get_tensor(output["index"])[0], output["quantization"]) for output in outputs]

    return run


def as_float(values, quantization):
    """Values of an output; integers are steps of a scale from a zero point."""
    if values.dtype == np.float32:
        return values
    scale, zero_point = quantization
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


def open_compiled(path, accelerator, threads=None):
    """The same function as `open_model` gives, by LiteRT's CompiledModel on "cpu", "gpu" or "npu"."""
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options

    reader = Interpreter(str(path))
    [image], ends = reader.get_input_details(), reader.get_output_details()
    named = reader.get_signature_runner("serving_default").get_output_details()
    names = {end["index"]: name for name, end in named.items()}
    options = Options(HardwareAccelerator[accelerator.upper()], cpu_options=CpuOptions(num_threads=threads or 0))
    try:
        model = CompiledModel.from_file(str(path), options=options)
    except RuntimeError:
        sys.exit(
            f"example.py: LiteRT cannot run {path.name} on the {accelerator.upper()}: there is none here, or it does "
            "not take all operators of the file. --accelerator cpu runs it."
        )
    [signature] = model.get_signature_list()
    taken = model.create_input_buffer_by_name(signature, "image")
    given = {name: model.create_output_buffer_by_name(signature, name) for name in names.values()}

    def run(pixels):
        taken.write(np.ascontiguousarray(pixels[np.newaxis].astype(image["dtype"])))
        model.run_by_name(signature, {"image": taken}, given)
        found = []
        for end in ends:
            values = given[names[end["index"]]].read(math.prod(end["shape"]), end["dtype"])
            found.append(as_float(values.reshape(end["shape"])[0], end["quantization"]))
        return found

    return run


if __name__ == "__main__":
    sys.exit(main())
