"""What lies beside .tflite files for people: example.py, which runs them, and a README for the app's side."""

import shutil
from pathlib import Path
from string import Template

from keras_vit.export import budget

TEMPLATE = Path(__file__).with_name("templates") / "EDGE.md"
EXAMPLE = Path(__file__).with_name("edge_example.py")
KOTLIN_CROP = """\
val scale = {crop_pct} * minOf(bitmap.height / {height}.0, bitmap.width / {width}.0)
val (height, width) = Pair((scale * {height}).toInt(), (scale * {width}).toInt())
val centre = Bitmap.createBitmap(bitmap, (bitmap.width - width) / 2, (bitmap.height - height) / 2, width, height)
val result = classifier.classify(BitmapImageBuilder(centre).build())"""
SWIFT_CROP = """\
let scale = {crop_pct} * min(Double(picture.height) / {height}, Double(picture.width) / {width})  // of a CGImage
let (height, width) = (Int(scale * {height}), Int(scale * {width}))
let centre = CGRect(x: (picture.width - width) / 2, y: (picture.height - height) / 2, width: width, height: height)
let result = try classifier.classify(image: MPImage(uiImage: UIImage(cgImage: picture.cropping(to: centre)!)))"""
KOTLIN_WHOLE = "val result = classifier.classify(BitmapImageBuilder(bitmap).build())"
SWIFT_WHOLE = "let result = try classifier.classify(image: MPImage(uiImage: UIImage(cgImage: picture)))"


def write(folder, source, report):
    """Write example.py and README.md into the folder; returns their paths.

    Args:
        source: the `Source` of the files.
        report: what `tflite.convert` reports: under "files" each one's name, quantisation, size and figures.
    """
    example, readme = Path(folder, "example.py"), Path(folder, "README.md")
    shutil.copyfile(EXAMPLE, example)
    spec, file = source.spec, report["files"][0]["file"]
    values = {"height": spec.size[0], "width": spec.size[1], "crop_pct": spec.crop_pct}
    cropped = spec.crop_mode == "center"
    kotlin, swift = (KOTLIN_CROP, SWIFT_CROP) if cropped else (KOTLIN_WHOLE, SWIFT_WHOLE)
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        values,
        name=source.name,
        classes=len(source.labels),
        files="\n".join(map(_row, report["files"])),
        file=file,
        stem=Path(file).stem,
        here=(
            "the model was measured on the centre of pictures: cut it out before"
            if cropped
            else "so was the model measured: hand them over whole"
        ),
        kotlin=kotlin.format(**values),
        swift=swift.format(**values),
    )
    readme.write_text(text, encoding="utf-8")
    return [example, readme]


def _row(file):
    """A line of the README on one file."""
    size = f"{file['size_bytes'] / 1e6:.2f} MB"
    return f"- `{file['file']}`, {size}, quantisation {file['quant']}: {budget.describe(file, file['limits'])}"
