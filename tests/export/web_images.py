"""Photographs as users drop them on a page: formats, modes and orientations, of sizes above and below a model's."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = sorted(Path(__file__).parents[2].glob("docs/figures/photographs/*.jpg"))
SIDES = ((37, 53), (300, 201), (97, 640), (641, 480), (33, 29), (255, 1003), (1200, 1601), (224, 224))  # W, H
ORIENTATION = 0x0112


def images(count=8):
    """(kind, name, encoded bytes), `count` of each kind, another photograph and another size each."""
    for kind, (ending, encode) in KINDS.items():
        for number in range(count):
            photograph = Image.open(PHOTOGRAPHS[number % len(PHOTOGRAPHS)]).convert("RGB")
            sized = photograph.resize(SIDES[number % len(SIDES)], Image.Resampling.LANCZOS)
            yield kind, f"{kind.replace(' ', '_').replace(',', '')}_{number}.{ending}", encode(sized, number)


def _saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _jpeg(**options):
    return lambda image, number: _saved(image, "JPEG", quality=(60, 75, 90, 95)[number % 4], **options)


def _turned(format):
    def encode(image, number):
        exif = Image.Exif()
        exif[ORIENTATION] = number % 8 + 1
        return _saved(image, format, exif=exif)

    return encode


def _with_alpha(image):
    """Opacity that falls from left to right, with colours under what is fully transparent."""
    ramp = np.linspace(-60, 300, image.width).clip(0, 255).astype("uint8")
    return Image.merge("RGBA", (*image.split(), Image.fromarray(np.tile(ramp, (image.height, 1)))))


def _palette(image, transparency=None):
    options = {} if transparency is None else {"transparency": transparency}
    return _saved(image.quantize(64), "PNG", **options)


def sixteen_bits(pixels):
    """A PNG of 16 bits a channel from uint16 (H, W) or (H, W, 3), which Pillow writes only in grey."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    (height, width), colour = pixels.shape[:2], 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _deep(image, number):
    """16 bits whose lower 8 are noise."""
    pixels = np.asarray(image.convert("L") if number % 2 else image).astype("uint16") << 8
    return sixteen_bits(pixels | np.random.default_rng(number).integers(0, 256, pixels.shape, "uint16"))


KINDS = {
    "JPEG": ("jpg", _jpeg()),
    "JPEG, 4:4:4": ("jpg", _jpeg(subsampling=0)),
    "JPEG, progressive": ("jpg", _jpeg(progressive=True)),
    "JPEG, grey": ("jpg", lambda image, _: _saved(image.convert("L"), "JPEG")),
    "JPEG, EXIF orientation": ("jpg", _turned("JPEG")),
    "JPEG, CMYK": ("jpg", lambda image, _: _saved(image.convert("CMYK"), "JPEG")),
    "PNG": ("png", lambda image, _: _saved(image, "PNG")),
    "PNG, grey": ("png", lambda image, _: _saved(image.convert("L"), "PNG")),
    "PNG, alpha": ("png", lambda image, _: _saved(_with_alpha(image), "PNG")),
    "PNG, grey and alpha": ("png", lambda image, _: _saved(_with_alpha(image).convert("LA"), "PNG")),
    "PNG, palette": ("png", lambda image, _: _palette(image)),
    "PNG, transparent palette": ("png", lambda image, _: _palette(image, bytes(range(0, 256, 4)))),
    "PNG, 16 bits": ("png", _deep),
    "PNG, EXIF orientation": ("png", _turned("PNG")),
    "WebP": ("webp", lambda image, _: _saved(image, "WEBP")),
    "WebP, lossless": ("webp", lambda image, _: _saved(image, "WEBP", lossless=True)),
    "WebP, alpha": ("webp", lambda image, _: _saved(_with_alpha(image), "WEBP", exact=True)),
    "WebP, EXIF orientation": ("webp", _turned("WEBP")),
    "GIF": ("gif", lambda image, _: _saved(image.quantize(128), "GIF")),
    "BMP": ("bmp", lambda image, _: _saved(image, "BMP")),
    "AVIF": ("avif", lambda image, _: _saved(image, "AVIF")),
}
