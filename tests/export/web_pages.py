"""Pages in headless Chromium against `keras-vit predict`: labels, scores, formats, times.

    python -m tests.export.web_pages LITERT_JS --csv results/web.csv   (make test-web)

A small ViT is trained to tell six photographs, toys have several labels, and models of the usual size get a head whose
logits are as far apart as trained ones. Each is converted, served by a plain server, and gets every image of
`web_images` dropped on it. Scores of the page are compared with those of the Keras model and of its .tflite file in
Python. It fails if a score differs from the file's by more than LIMIT, or labels do, except in formats of OTHERWISE.
"""

import argparse
import csv
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from keras_vit.export.edge.quantizations import WEB
from keras_vit.prediction.many import best_classes, predict_files
from keras_vit.prediction.predictor import Predictor
from keras_vit.prediction.tflite_interpreter import open_interpreter
from tests.export import chromium, toys, web_images
from tests.export.web_visitor import Visitor, serving

LIMIT = 1e-3
OTHERWISE = ("WebP, EXIF orientation",)  # which Chromium does not turn upright
HEAD = (
    *("model", "quant", "kind", "images", "from_keras", "labels_of_keras", "from_file", "labels_of_file"),
    *("load_seconds", "browser_ms", "prepare_ms", "python_ms"),
)
TIMED = 25  # runs of one image, of which the fastest counts: other work may be going on
SIZE = (64, 80)  # of the trained model
STEPS, BATCH = 100, 32
SOFTER = 0.3  # what the trained logits are multiplied by, or all scores would be near 0 and 1
SPREAD = 2.5  # standard deviation of the logits of models with random weights
TOP = 5


def main(argv=None):
    """Write the table and print it; 1 if a page differs from the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("litert_js", help="folder in which `npm install @litertjs/core` was called")
    parser.add_argument("--csv", help="write the table to this file")
    parser.add_argument("--folder", type=Path, default=Path("build/web"), help="for models and pages")
    parser.add_argument("--large", nargs="*", default=["ViTS16", "SwinT", "ConvNeXtT"], help="models of 224 pixels")
    arguments = parser.parse_args(argv)
    if chromium.PATH is None:
        raise SystemExit(f"No browser: {chromium.MISSING}")
    arguments.folder = arguments.folder.absolute()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    rows = []
    with chromium.launch() as browser:
        for run, quantization, count in runs(arguments.folder, arguments.large):
            page = arguments.folder / "pages" / f"{run.name}_{quantization}"
            convert(run, page, quantization, arguments.litert_js)
            rows += measured(browser, run, page, quantization, count)
    if arguments.csv:
        with open(arguments.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])
    bad = [row for row in rows if row[2] not in OTHERWISE and (row[6] > LIMIT or row[7] < row[3])]
    for row in bad:
        print(f"DIFFERS: {row}")
    return 1 if bad or not rows else 0


def runs(folder, names):
    """(run's folder, quantization, images of each kind) of every page."""
    photographs = trained(folder / "photographs")
    for quantization in WEB:
        yield photographs, quantization, 8
    several = toys.write_several(folder / "several", number=40)
    yield several, "float16", 8
    for name in names:
        yield large(folder / name, name), "float16", 1


def trained(folder):
    """The run of a small ViT that tells crops of the six photographs, trained here."""
    import keras

    from keras_vit.models import vit
    from keras_vit.models.family import Variant
    from keras_vit.preprocessing import Spec, normalize

    spec = Spec(SIZE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop_pct=0.9)
    photographs = [Image.open(path).convert("RGB") for path in web_images.PHOTOGRAPHS]
    draw = np.random.default_rng(0)

    def crops(count):
        classes = draw.integers(0, len(photographs), count)
        return np.stack([crop(draw, photographs[k]) for k in classes]), classes

    keras.utils.set_random_seed(0)
    variant = Variant("Small", vit.VIT, vit.Config(96, 4, 3, 8))
    model = variant(weights=None, input_shape=(*SIZE, 3), classes=len(photographs))
    model.compile(keras.optimizers.AdamW(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, classes = crops(STEPS * BATCH)
    model.fit(normalize(images.astype("float32"), spec), classes, BATCH, verbose=2)
    for weight in model.trainable_weights[-2:]:  # the head's kernel and bias
        weight.assign(weight * SOFTER)
    return write_run(folder, model, spec, [path.stem for path in web_images.PHOTOGRAPHS], crops(48))


def crop(draw, photograph):
    """A random part of a photograph, of the trained model's size."""
    W, H = photograph.size
    side = draw.uniform(0.4, 1)
    width, height = int(side * W), int(side * H)
    left, top = draw.integers(0, W - width + 1), draw.integers(0, H - height + 1)
    return np.asarray(photograph.crop((left, top, left + width, top + height)).resize(SIZE[::-1]))


def large(folder, name):
    """The run of a model of 224 pixels with random weights, whose logits are as far apart as trained ones."""
    import keras

    from keras_vit.models import VARIANTS
    from keras_vit.preprocessing import normalize

    keras.utils.set_random_seed(0)
    model, spec = VARIANTS[name](weights=None), VARIANTS[name].spec
    photographs = [Image.open(path).convert("RGB").resize(spec.size[::-1]) for path in web_images.PHOTOGRAPHS]
    images = np.stack([np.asarray(photograph) for photograph in photographs])
    kernel = next(
        weight
        for weight in reversed(model.trainable_weights)
        if tuple(weight.shape)[-1:] == (1000,) and len(weight.shape) == 2
    )
    logits = np.log(model.predict(normalize(images.astype("float32"), spec), verbose=0))
    kernel.assign(kernel * SPREAD / logits.std())
    classes = model.predict(normalize(images.astype("float32"), spec), verbose=0).argmax(-1)
    return write_run(folder, model, spec, [f"class {k}" for k in range(1000)], (images, classes))


def write_run(folder, model, spec, labels, images):
    """A run folder with images (N, H, W, 3) and their classes as its test images."""
    from keras_vit.sources.run_folder import Run

    (folder / "images").mkdir(parents=True)
    Run.write_description(folder, name=folder.name, model_name=model.name, labels=labels, spec=spec)
    model.save(folder / "model.keras")
    paths = [folder / "images" / f"{number:02}.png" for number in range(len(images[0]))]
    for path, image in zip(paths, images[0]):
        Image.fromarray(image).save(path)
    Run.write_test_images(folder, zip(paths, images[1]))
    return folder


def convert(run, page, quantization, litert_js):
    """Call `keras-vit convert`."""
    from keras_vit.cli.main import main as command

    options = ["--quant", quantization, "--max-images", "48", "--litert-js", str(litert_js), "--output", str(page)]
    assert command(["convert", str(run), "--format", "web", *options]) == 0


def measured(browser, run, page, quantization, count):
    """The rows of one page, a kind of image each."""
    [file] = page.glob("*.tflite")
    images = list(web_images.images(count))
    for _, name, content in images:
        (page.parent / name).write_bytes(content)
    with serving(page.parent) as url:
        visitor = Visitor(browser, f"{url}{page.name}/")
        load = visitor.open()
        answers = [visitor.drop(name, content) for _, name, content in images]
        timed = [visitor.drop(*images[0][1:])["milliseconds"] for _ in range(TIMED)]
        foreign = [one for one in visitor.requests if not one.startswith((url, "blob:", "data:"))]
        assert not visitor.problems and not foreign, (visitor.problems, foreign)
        visitor.close()
    paths = [page.parent / name for _, name, _ in images]
    predictors = [Predictor.open(one) for one in (run, file)]
    others = [predicted(predictor, paths) for predictor in predictors]
    found = {}
    for (kind, name, _), answer, keras, here in zip(images, answers, *others):
        if isinstance(answer, str):
            print(f"{name}: {answer}")
        found.setdefault(kind, []).append(
            (*compared(answer, keras, predictors[0]), *compared(answer, here, predictors[1]))
        )
    prepare, browser_ms = np.min(timed, 0)
    times = f"{load:.2f}", f"{browser_ms:.1f}", f"{prepare:.1f}", f"{in_python(file, paths[0]):.1f}"
    rows = []
    for kind, some in found.items():
        from_keras, same, from_file, as_file = zip(*some)
        row = (len(some), max(from_keras), sum(same), max(from_file), sum(as_file))
        rows.append((run.name, quantization, kind, *row, *times))
        print(
            f"{run.name:12} {quantization:13} {kind:26} {row[0]:3} images; from Keras {row[1]:.1e}, same labels "
            f"{row[2]}; from the file {row[3]:.1e}, same labels {row[4]}",
            flush=True,
        )
    print(f"{run.name:12} {quantization:13} load s, ms per image, ms to prepare, ms in Python: {times}", flush=True)
    return rows


def predicted(predictor, paths):
    """(scores, score as a known image or None, classes, whether it is unknown) of each image, as in `predict`."""
    top = len(predictor.labels) if predictor.multi_label else TOP
    for answer in predict_files(predictor, paths):
        best, _ = best_classes(answer, min(top, len(predictor.labels)), predictor.thresholds)
        unknown = answer.known is not None and bool(predictor.is_unknown(answer.known))
        yield answer.scores, answer.known, best, unknown


def compared(answer, expected, predictor):
    """(largest difference of scores, whether the labels are the same, and whether the image is unknown).

    Labels whose scores are within LIMIT of each other may stand in another order.
    """
    if isinstance(answer, str):
        return np.inf, False
    scores, known, labels, unknown = expected
    difference = np.abs(np.asarray(answer["scores"]) - scores).max()
    if known is not None:  # a sum of logits: relative
        difference = max(difference, abs(answer["known"] - known) / max(abs(known), 1))
    ours = [predictor.labels.index(label) for label in answer["labels"]]
    near = len(ours) == len(labels) and np.abs(scores[ours] - scores[labels]).max(initial=0) <= LIMIT
    return difference, bool(near and answer["unknown"] == unknown)


def in_python(file, path):
    """Milliseconds that the file takes for an image by LiteRT's Python package, with one thread."""
    interpreter, pixels = open_interpreter(file, 1), Predictor.open(file).prepare(path)
    image, times = interpreter.get_input_details()[0], []
    for _ in range(TIMED):
        begun = time.perf_counter()
        interpreter.set_tensor(image["index"], pixels[np.newaxis].astype(image["dtype"]))
        interpreter.invoke()
        times.append(1000 * (time.perf_counter() - begun))
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
