"""An image file as Pillow sees it: the rule that every other decoder of this library is held to.

Upright by its orientation note, 16 bits a channel cut to their upper 8, RGB without transparency. What Pillow cannot
turn into that without inventing something (32-bit and float pixels) is refused by name, and so is what exceeds
the limits of `keras_vit.system.limits`. A PNG whose notes are damaged is read without them, as libpng does.
"""

import contextlib
import functools
import importlib
import io
import os
import stat
import warnings

import numpy as np

from keras_vit.preprocessing.png_notes import SIGNATURE, without_notes
from keras_vit.system import limits, remote, startup

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
TURNS = {  # orientation -> whether its axes are swapped, and the steps along rows and columns after that
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, -1, 1),
    7: (True, -1, -1),
    8: (True, 1, -1),
}
STRIP = 2**20  # pixels that are converted at once: what Pillow converts as a whole takes four bytes for each


def read_image(file):
    """An image -> numpy uint8 (H0, W0, 3), RGB, upright.

    Args:
        file: path, URL of an object store, bytes of an encoded image, or an open binary file.

    Raises:
        ValueError: naming the file if it is truncated, not an image, of a format or a mode that is not read, or larger
            than `keras_vit.system.limits` allows.
        OSError: if it cannot be opened.
    """
    return read_with_kind(file)[0]


def read_with_kind(file):
    """(image as `read_image` returns it, Pillow's name of its format, its mode before conversion)."""
    name = "the image" if isinstance(file, bytes) else str(getattr(file, "name", file))
    from PIL import UnidentifiedImageError

    file = remote.read(file) if remote.is_remote(file) else file
    try:
        return _read_or_without_notes(file)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # Pillow raises about a dozen kinds for damaged files
        unknown = isinstance(error, UnidentifiedImageError) and f"cannot identify image file {name}"
        reason = missing_plugin(name) or unknown or str(error) or type(error).__name__
        raise ValueError(f"{name} cannot be read as an image: {reason}") from error


def missing_plugin(name):
    """What a file of this name needs that is not installed, in words; None if nothing is missing."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in PLUGINS or PLUGINS[suffix][0] in formats():
        return None
    return f"{suffix} needs a plugin of Pillow; pip install {PLUGINS[suffix][1]}"


def refused_file(path):
    """Why a file is not opened at all, in words; None if it is.

    Raises:
        OSError: if there is none.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return "a folder, pipe or device"
    if status.st_size > limits.MAX_IMAGE_BYTES:
        return f"{status.st_size} bytes; images of up to {limits.MAX_IMAGE_BYTES} are read"
    return None


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
    if startup.is_command():  # what Pillow warns of is refused here
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    Image.init()
    return tuple(name for name in Image.OPEN if name not in REFUSED_FORMATS)


class _TooLarge(ValueError):
    """An image beyond the limits."""


def _read_or_without_notes(file):
    """(image, format, mode), of a PNG that Pillow refuses without its notes."""
    if isinstance(file, (str, os.PathLike)) and os.path.getsize(file) > limits.MAX_IMAGE_BYTES:
        raise _TooLarge(f"it has {os.path.getsize(file)} bytes; at most {limits.MAX_IMAGE_BYTES} are read")
    try:
        return _read(io.BytesIO(file) if isinstance(file, bytes) else file)
    except _TooLarge:
        raise
    except Exception:  # of a dozen kinds, which go on if this is no PNG with notes
        bare = without_notes(_png(file))
        if bare is None:
            raise
        return _read(io.BytesIO(bare))


def _read(file):
    from PIL import Image

    limit = limits.max_pixels()
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:  # Pillow's own limit, of its process
        Image.MAX_IMAGE_PIXELS = limit
    try:
        with Image.open(file, formats=formats()) as image:
            _refuse_large(*image.size)
            format, mode = image.format, image.mode
            image.load()
            _refuse_large(*image.size)  # an icon's may be another than its directory says
            return _pixels(image, format), format, mode
    except Image.DecompressionBombError as error:
        raise _TooLarge(f"it has too many pixels; {_allowed()}") from error


def _refuse_large(width, height):
    if not limits.fits(width, height):
        raise _TooLarge(f"it has {width} x {height} pixels; {_allowed()}")


def _allowed():
    return (
        f"at most {limits.max_pixels()} are read, and {limits.MAX_SIDE} along a side. Save it smaller, or allow more "
        f"by --max-pixels or {limits.PIXELS_VARIABLE}"
    )


def _png(file):
    """The bytes of a file if it is a PNG; none of what cannot be read twice."""
    if isinstance(file, bytes):
        return file
    if not hasattr(file, "read") and not os.path.isfile(file):
        return b""
    with contextlib.nullcontext(file) if hasattr(file, "read") else open(file, "rb") as opened:
        opened.seek(0)
        start = opened.read(len(SIGNATURE))
        return start + opened.read() if start == SIGNATURE else b""


def _pixels(image, format):
    """A loaded image -> uint8 (H0, W0, 3), upright.

    Pillow's exif_transpose would write the EXIF block again, which fails where one of its tags is odd. And turned and
    converted as a whole, an image would be in memory three times.
    """
    width, height = image.size
    swapped, *steps = TURNS.get(image.getexif().get(ORIENTATION, 1), (False, 1, 1))
    upright = np.empty((width, height, 3) if swapped else (height, width, 3), "uint8")
    turned = (upright.swapaxes(0, 1) if swapped else upright)[:: steps[0], :: steps[1]]
    rows = max(STRIP // max(width, 1), 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image if rows >= height else image.crop((0, top, width, bottom))
        turned[top:bottom] = np.asarray(_to_rgb(strip, format))
    return upright


def _to_rgb(image, format):
    from PIL import Image

    sixteen_bits = image.mode.startswith("I;16") or image.mode == "I" and format in ("PNG", "PPM")
    if sixteen_bits:
        return Image.fromarray((np.asarray(image) >> 8).astype("uint8")).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit numbers (mode {image.mode}) of unknown range; save it with 8 or 16 bits"
        )
    if image.mode == "P" and "transparency" in image.info:  # in one step Pillow warns that this drops it
        image = image.convert("RGBA")
    return image.convert("RGB")
