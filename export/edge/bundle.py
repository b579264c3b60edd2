"""What lies beside .tflite files: example.py, which runs them, and a README on using them in an app."""

import shutil
import textwrap
from pathlib import Path
from string import Template

from keras_vit.export.edge import feature_tolerance, tolerance
from keras_vit.prediction.embeddings_file import save_embeddings

TEMPLATE, FEATURES = (Path(__file__).with_name(name) for name in ("EDGE.md", "FEATURES.md"))
INDEX = "index.npz"
EXAMPLE = Path(__file__).with_name("example.py")
KOTLIN_CROP = """\
val scale = {crop_pct} * minOf(bitmap.height / {height}.0, bitmap.width / {width}.0)
val (height, width) = Pair((scale * {height}).toInt(), (scale * {width}).toInt())
val centre = Bitmap.createBitmap(bitmap, (bitmap.width - width) / 2, (bitmap.height - height) / 2, width, height)
val result = classifier.classify(BitmapImageBuilder(centre).build())"""
SWIFT_CROP = """\
let scale = {crop_pct} * min(Double(image.height) / {height}, Double(image.width) / {width})  // of a CGImage
let (height, width) = (Int(scale * {height}), Int(scale * {width}))
let centre = CGRect(x: (image.width - width) / 2, y: (image.height - height) / 2, width: width, height: height)
let result = try classifier.classify(image: MPImage(uiImage: UIImage(cgImage: image.cropping(to: centre)!)))"""
KOTLIN_WHOLE = "val result = classifier.classify(BitmapImageBuilder(bitmap).build())"
SWIFT_WHOLE = "let result = try classifier.classify(image: MPImage(uiImage: UIImage(cgImage: image)))"


def write(folder, source, report, index=None):
    """Write example.py, README.md and, if there is one, index.npz into the folder; returns their paths.

    Args:
        source: the `ExportedModel` of the files.
        report: of `tflite.convert`: under "files" the name, quantization, size and figures of each.
        index: `Embeddings` of images, whose nearest example.py prints.
    """
    example, readme, stored = (Path(folder, name) for name in ("example.py", "README.md", INDEX))
    shutil.copyfile(EXAMPLE, example)
    text = _about_features(source, report, index) if source.features else _about_classes(source, report)
    readme.write_text(text, encoding="utf-8")
    if index is None:
        return [example, readme]
    save_embeddings(stored, index)
    return [example, readme, stored]


def _about_features(source, report, index):
    """The README of files that give features."""
    files, vector = report["files"], f"`{source.features[0]}`"
    near = "the nearest of the stored vectors" if index else f"the shape and first numbers of {vector}"
    shapes = files[0]["features"]
    about = index and (
        f"`{INDEX}` has {len(index.names):,} vectors and their names, made by `keras-vit embed` from {index.model}; "
        "`example.py` prints those of the largest cosine. Vectors of a quantized file are compared with them too: "
        "`report.json` says how near its own are to the Keras model's."
    )
    return Template(FEATURES.read_text(encoding="utf-8")).substitute(
        name=source.name,
        example=near,
        files="\n".join(map(_row, files)),
        sizes=_sizes(files, source.spec),
        outputs="\n".join(f"- `{name}` {tuple(figures['shape'])}" for name, figures in shapes.items()),
        index=f"\n{textwrap.fill(about, 120, break_on_hyphens=False)}" if about else "",
    )


def _about_classes(source, report):
    """The README of files that give classes."""
    spec, file = source.spec, report["files"][0]["file"]
    values = {"height": spec.size[0], "width": spec.size[1], "crop_pct": spec.crop_pct}
    cropped = spec.crop_mode == "center"
    kotlin, swift = (KOTLIN_CROP, SWIFT_CROP) if cropped else (KOTLIN_WHOLE, SWIFT_WHOLE)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        values,
        name=source.name,
        classes=len(source.labels),
        answers=_answers(source.answers),
        sizes=_sizes(report["files"], spec),
        files="\n".join(map(_row, report["files"])),
        file=file,
        stem=Path(file).stem,
        here=(
            "the model was measured on the centre of images: crop them first"
            if cropped
            else "so did the measurements of this model: pass whole images"
        ),
        kotlin=kotlin.format(**values),
        swift=swift.format(**values),
    )


def _answers(answers):
    """What answers.json means, in words; "" where there is none."""
    said = []
    if answers.multi_label:
        said.append(
            "An image may have several labels, or none. The probabilities are independent of each other: an image has "
            "a class if its probability is at least that class's number in `thresholds` of `answers.json`, which have "
            "the order of labels.txt. MediaPipe knows one threshold for all classes (`scoreThreshold`): ask it for all "
            "categories and compare each with its own."
        )
    if answers.unknown:
        score = {"energy": "the logsumexp of the logits", "max_logit": "the largest logit"}[answers.unknown["score"]]
        said.append(
            f"The second output, `known_score` (1, 1), is {score}: below {answers.unknown['threshold']:g} "
            "(`unknown` in `answers.json`) the image is unknown, of none of the classes; "
            f"{100 * answers.unknown['kept']:g} % of the validation images are not below. With MediaPipe it is "
            "`classifications[1]`, the score of its one category."
        )
    return "".join(f"\n{textwrap.fill(text, 120, break_on_hyphens=False)}\n" for text in said)


def _sizes(files, spec):
    """The image sizes of the files, in words."""
    sizes = list(dict.fromkeys(tuple(file.get("image_size", spec.size)) for file in files))
    named = [f"{height} x {width} pixels (1, {height}, {width}, 3)" for height, width in sizes]
    several = ", as its name and its input say" if len(sizes) > 1 else ""
    return " or ".join(named) + several


def _row(file):
    """A file's line in the README."""
    size = f"{file['size_bytes'] / 1e6:.2f} MB"
    module = feature_tolerance if "features" in file else tolerance
    return f"- `{file['file']}`, {size}, quantization {file['quant']}: {module.describe(file, file['limits'])}"
