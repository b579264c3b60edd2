"""An image file as Pillow sees it: the rule that every other decoder of this library is held to.

Upright by its orientation note, 16 bits a channel cut to their upper 8, RGB without transparency. What Pillow cannot
turn into that without inventing something (32-bit and float pixels) is refused by name.
"""

import contextlib
import functools
import importlib
import io
import os

import numpy as np

PLUGINS = {  # suffix -> (Pillow's name of the format, package that adds it where Pillow lacks it)
    ".avif": ("AVIF", "pillow-avif-plugin"),
    ".avifs": ("AVIF", "pillow-avif-plugin"),
    ".heic": ("HEIF", "pillow-heif"),
    ".heif": ("HEIF", "pillow-heif"),
    ".hif": ("HEIF", "pillow-heif"),
}
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".ico", ".icns"),
    *(".qoi", ".psd", ".dds", ".sgi", ".rgb", ".rgba", ".bw", ".ras", ".xbm", ".xpm"),
    *PLUGINS,
)
REFUSED_FORMATS = ("EPS", "WMF", "PDF")  # programs that draw, which Pillow gives to an interpreter
ORIENTATION = 0x0112  # EXIF's tag


def read_image(file):
    """An image -> numpy uint8 (H0, W0, 3), RGB, upright.

    Args:
        file: path, bytes of an encoded image, or an open binary file.

    Raises:
        ValueError: naming the file if it is truncated, not an image, or of a format or a mode that is not read.
        OSError: if it cannot be opened.
    """
    from PIL import Image

    name = "the image" if isinstance(file, bytes) else str(getattr(file, "name", file))
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        with Image.open(file, formats=formats()) as image:
            return np.array(_to_rgb(_upright(image)))
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # Pillow raises about a dozen kinds for damaged files
        reason = missing_plugin(name) or str(error).replace(repr(file), name)
        raise ValueError(f"{name} cannot be read as an image: {reason}") from error


def missing_plugin(name):
    """What a file of this name needs that is not installed, in words; None if nothing is missing."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in PLUGINS or PLUGINS[suffix][0] in formats():
        return None
    return f"{suffix} needs a plugin of Pillow; pip install {PLUGINS[suffix][1]}"


def is_image_name(name):
    """Whether a file's name is that of an image: by its suffix, and not hidden (as macOS' "._x.jpg" are)."""
    name = os.path.basename(name)
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


@functools.cache
def formats():
    """Pillow's names of the formats that are read, those of installed plugins among them."""
    from PIL import Image

    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_avif")
    Image.init()
    return tuple(name for name in Image.OPEN if name not in REFUSED_FORMATS)


def _upright(image):
    """ImageOps.exif_transpose, without writing the EXIF block again, which fails where one of its tags is odd."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    image.load()
    turn = turns.get(image.getexif().get(ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(image):
    from PIL import Image

    sixteen_bits = image.mode.startswith("I;16") or image.mode == "I" and image.format in ("PNG", "PPM")
    if sixteen_bits:
        return Image.fromarray((np.asarray(image) >> 8).astype("uint8")).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit numbers (mode {image.mode}) of unknown range; save it with 8 or 16 bits"
        )
    if image.mode == "P" and "transparency" in image.info:  # in one step Pillow warns that this drops it
        image = image.convert("RGBA")
    return image.convert("RGB")
