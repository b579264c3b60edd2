"""The table of docs/formats.md: how each kind of image is seen, on every way that it takes through the library.

`rows` runs them all over the images of `tests/images_of_all_kinds.py`; `tests/docs/test_formats.py` holds the page
against it, and `python -m tests.docs.tables --write` writes it. The columns of MediaPipe and of the web page are what
`make test-mediapipe` and `make test-web` measured last.
"""

import contextlib
import csv
import functools
import io

import numpy as np

from tests.docs.published import ROOT
from tests.images_of_all_kinds import ROUNDED, images, seen_by_pillow

MEASURED = {"MediaPipe": ROOT / "results/formats_mediapipe.csv", "web page": ROOT / "results/formats_web.csv"}
RIGHT, REFUSED, WRONG = "as Pillow", "refused", "differently"
OFF_BY_ONE = "off by 1"  # of 255
KINDS = {  # in words: beginnings of the images' names; each image counts for the first
    "JPEG, orientation in EXIF of an odd type, twice or damaged": (
        *(f"jpeg_exif_{odd}" for odd in ("ascii", "byte", "signed", "rational", "two_s", "unknown", "twice")),
        *("jpeg_exif_value_beyond", "jpeg_exif_in_two_segments"),
    ),
    "JPEG, orientation in EXIF, wherever it stands": ("jpeg_exif", "jpeg_cmyk_turned"),
    "JPEG, orientation in XMP": ("jpeg_xmp",),
    "JPEG, CMYK without Adobe's marker": ("jpeg_cmyk_noadobe",),
    "JPEG, CMYK with black": ROUNDED,
    "JPEG: grey, RGB, CMYK, progressive, any sampling; MPO": ("jpeg",),
    "PNG, orientation in EXIF of an odd type, twice or damaged; as raw profile; in compressed XMP": (
        *(f"png_exif_{odd}" for odd in ("ascii", "byte", "signed", "rational", "two_s", "unknown", "twice")),
        *("png_exif_value_beyond", "png_exif_as_raw", "png_xmp_6_compressed"),
    ),
    "PNG, orientation in EXIF or XMP": ("png_exif", "png_xmp"),
    "PNG: 1 to 16 bits, grey, RGB, palette, alpha, interlaced, animated": ("png",),
    "GIF whose first frame is transparent, smaller or larger than the screen, or without colours": (
        *("gif_transparent", "gif_small", "gif_large", "gif_no_table"),
    ),
    "GIF (first frame)": ("gif",),
    "BMP: 24 bits, and 8 bits of plain grey": (
        *("bmp_24.", "bmp_24_top", "bmp_24_v", "bmp_24_1x1", "bmp_grey8", "bmp_by_pillow_L", "bmp_by_pillow_RGB"),
    ),
    "BMP, masks in an order that Pillow does not know": ("bmp_32_rgbx", "bmp_32_xrgb"),
    "BMP: palettes, 16 and 32 bits, masks, run lengths, OS/2": ("bmp",),
    "WebP, animated, or with an odd EXIF": ("webp_animated", "webp_exif_ascii", "webp_exif_twice"),
    "WebP: lossy, lossless, alpha, orientation in EXIF or XMP": ("webp",),
    "TIFF with 32-bit numbers": ("tiff_int32", "tiff_float32"),
    "TIFF: 1 to 16 bits, grey, RGB, palette, CMYK, any compression, orientation": ("tiff",),
    "AVIF; PPM, PGM, PBM; JPEG 2000; TGA, PCX, ICO, ICNS, SGI, DDS, QOI, XBM": ("",),
}


def kinds():
    """The table as Markdown: a row per kind, a column per way."""
    ways, found = rows()
    lines = [f"| image (number tried) | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    for kind, counts in found.items():
        total = sum(counts[0].values())
        lines.append(f"| {kind} ({total}) | {' | '.join(map(_cell, counts))} |")
    return "\n".join(lines)


@functools.cache
def rows():
    """(names of the ways, {kind: per way {outcome: number of images}})."""
    ways = {
        "train": _trained(),
        "predict, validate": _read(),
        "serve, page": _served(),
        "`example.py`": _by_example(),
    }
    outcomes = {way: {name: _outcome(name, image) for name, image in seen.items()} for way, seen in ways.items()}
    for way, path in MEASURED.items():
        outcomes[way] = dict(list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:])
    counts = {kind: [{} for _ in outcomes] for kind in KINDS}
    for name in images():
        kind = next(kind for kind, beginnings in KINDS.items() if name.startswith(beginnings))
        for place, seen in enumerate(outcomes.values()):
            counts[kind][place][seen[name]] = counts[kind][place].get(seen[name], 0) + 1
    return tuple(outcomes), counts


def _cell(counts):
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{how} {number}" for how, number in sorted(counts.items()))


def _outcome(name, image):
    if image is None:
        return REFUSED
    expected = _expected(name)
    if expected is None or image.shape != expected.shape:
        return WRONG
    return {0: RIGHT, 1: OFF_BY_ONE}.get(np.abs(image.astype(int) - expected).max(initial=0), WRONG)


@functools.cache
def _expected(name):
    with contextlib.suppress(OSError):
        return seen_by_pillow(images()[name])


def _trained():
    """By the input pipeline's decoder."""
    import tensorflow as tf

    from keras_vit.preprocessing import decode_image

    decode = tf.function(lambda content: decode_image(content, with_pillow=True), input_signature=[_content()])
    return {name: _attempt(decode, content) for name, content in images().items()}


def _read():
    """By the reader of paths."""
    from keras_vit.preprocessing import read_image

    return {name: _attempt(read_image, content) for name, content in images().items()}


def _served():
    """By the decoder of a served graph."""
    import tensorflow as tf

    from keras_vit.preprocessing import decode_image

    decode = tf.function(decode_image, input_signature=[_content()])
    return {name: _attempt(decode, content) for name, content in images().items()}


def _by_example():
    """By the script beside the .tflite files."""
    from keras_vit.export.edge import example

    return {name: _attempt(lambda c: example.read(io.BytesIO(c)), content) for name, content in images().items()}


def _attempt(decode, content):
    """uint8 (H0, W0, 3), or None if it is refused."""
    import tensorflow as tf

    try:
        return np.asarray(decode(content))
    except (ValueError, OSError, tf.errors.InvalidArgumentError):
        return None


def _content():
    import tensorflow as tf

    return tf.TensorSpec([], tf.string)
