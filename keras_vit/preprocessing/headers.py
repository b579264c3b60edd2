"""What a graph must know of an encoded image before it decodes it: whether TensorFlow sees it as Pillow does.

TensorFlow's decoders take palettes of a BMP for grey values, CMYK without Adobe's marker for inverted, and know no
orientation. `orientation` reads the containers' headers: JPEG (ITU-T T.81, Annex B), PNG (W3C, Sec. 5), GIF89a, BMP and
WebP (RFC 9649), and tells how to turn the image, or 0: not to be decoded here, what is larger than allowed included.

Metadata is searched by its literal first, which costs next to nothing; the blocks of a file are walked, one operation
after another, only where it is found.
"""

import functools
from typing import NamedTuple

from keras_vit.preprocessing import sizes
from keras_vit.preprocessing.exif import orientation_in_tiff, orientation_in_xmp
from keras_vit.system import limits

OTHER, EXIF, XMP, UNSURE, END = range(5)  # what a block of a file is
EXIF_MARKER = b"Exif\0\0"
ORIENTATION_IN_XMP = b"tiff:Orientation"
JPEG_LITERALS = (EXIF_MARKER, ORIENTATION_IN_XMP)  # one of which is in every JPEG that notes its orientation
XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
XMP_IN_PNG = b"XML:com.adobe.xmp\0"
PNG = r"\CPNG\r\n"  # what such a file begins with
PNG_LITERALS = (b"eXIf", ORIENTATION_IN_XMP, b"Raw profile type exif", XMP_IN_PNG + b"\1")  # likewise
BMP_HEADERS = (40, 52, 56, 108, 124)  # bytes; of 12, OS/2's, the fields lie elsewhere


class Notes(NamedTuple):
    """Where a file notes its orientation. Positions are -1 where it does not."""

    sure: object  # bool: whether TensorFlow sees the image as Pillow does, but for these notes
    exif: object  # int32: first byte of the EXIF block
    exif_length: object
    xmp: object  # int32: first byte of the XMP text
    xmp_length: object


class Block(NamedTuple):
    """One block of a file: a segment of a JPEG, a chunk of a PNG or of a RIFF file."""

    kind: object  # int32: OTHER, EXIF, XMP, UNSURE or END
    start: object  # int32: first byte of its content
    length: object  # int32: bytes of its content
    next: object  # int32: first byte of the block that follows


def orientation(encoded):
    """How an image must be turned that TensorFlow decodes as Pillow does.

    Args:
        encoded: bytes, a string scalar.

    Returns:
        int32 scalar: 1 to 8 as in EXIF (1: upright), or 0 for an image that is not seen as Pillow sees it, of which
        that is not known, or that exceeds the limits of `keras_vit.system.limits` when this is traced.
    """
    return _traced(_orientation, limits.max_pixels())(encoded)


@functools.cache
def _traced(function, max_pixels, whole=False):
    """A function of TensorFlow of a file's bytes, traced once, however many graphs decode images.

    Args:
        max_pixels: the limit that the function is traced with.
        whole: whether it stays one node of them: of a branch that is not taken, every node costs its share.
    """
    import tensorflow as tf

    attributes = {"_noinline": True} if whole else None
    return tf.function(function, [tf.TensorSpec([], tf.string)], autograph=False, experimental_attributes=attributes)


def _orientation(encoded):
    """The way that nearly all images take is short: JPEG and PNG without notes are upright.

    It saves more than the reading: TensorFlow optimises the graph of `_read`, for seconds, when it is first called in
    an iteration over a data set.
    """
    import tensorflow as tf

    def jpeg():
        shape = tf.io.extract_jpeg_shape(encoded)
        return (shape[2] <= 3) & sizes.jpeg_fits(shape) & ~_contains_any(encoded, JPEG_LITERALS)

    def png():
        return sizes.png_fits(encoded) & ~_contains_any(encoded, PNG_LITERALS)

    def other():
        return tf.cond(_begins(encoded, PNG), png, lambda: False)

    plain = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    return tf.cond(plain, lambda: 1, lambda: _traced(_read, limits.max_pixels(), whole=True)(encoded))


def _read(encoded):
    """The orientation from the headers."""
    import tensorflow as tf

    notes = tf.case(
        [
            (tf.io.is_jpeg(encoded), lambda: _of_jpeg(encoded)),
            (_begins(encoded, PNG), lambda: _of_png(encoded)),
            (_begins(encoded, r"GIF8[79]a"), lambda: _of_gif(encoded)),
            (_begins(encoded, r"RIFF\C{4}WEBPVP8[ LX]"), lambda: _of_webp(encoded)),
            (_begins(encoded, "BM"), lambda: _of_bmp(encoded)),
        ],
        default=lambda: _plain(False),
    )
    return tf.cond(notes.sure & sizes.fits(encoded), lambda: _noted(encoded, notes), lambda: 0)


def _noted(encoded, notes):
    """The orientation of the EXIF block, else of the XMP text, else 1."""
    import tensorflow as tf

    def content(at, length):
        return tf.strings.substr(encoded, at, length)

    in_exif = tf.cond(notes.exif >= 0, lambda: orientation_in_tiff(content(notes.exif, notes.exif_length)), lambda: -1)
    ask_xmp = (in_exif < 0) & (notes.xmp >= 0)
    in_xmp = tf.cond(ask_xmp, lambda: orientation_in_xmp(content(notes.xmp, notes.xmp_length)), lambda: 1)
    return tf.where(in_exif < 0, in_xmp, in_exif)


def _of_jpeg(encoded):
    import tensorflow as tf

    notes = _walk(encoded, 2, _jpeg_segment, JPEG_LITERALS)
    cmyk = tf.io.extract_jpeg_shape(encoded)[2] == 4
    seen_alike = tf.cond(cmyk, lambda: _contains_any(encoded, [b"\xff\xee\0\x0eAdobe"]), lambda: True)
    return notes._replace(sure=notes.sure & seen_alike)


def _jpeg_segment(encoded, position):
    import tensorflow as tf

    head = _bytes(encoded, position, 4)
    marker, padding = head[1], head[1] == 0xFF
    length = tf.where(padding, 0, 256 * head[2] + head[3])
    content = _text(encoded, position + 4, len(XMP_IN_JPEG))
    app1 = marker == 0xE1
    exif = app1 & _starts_with(content, EXIF_MARKER)
    xmp = app1 & (content == XMP_IN_JPEG)
    kind = _first((head[0] != 0xFF, UNSURE), (marker == 0xDA, END), (exif, EXIF), (xmp, XMP))
    skipped = tf.where(exif, len(EXIF_MARKER), 0)
    following = position + tf.where(padding, 1, 2 + length)
    return Block(kind, position + 4 + skipped, length - 2 - skipped, following)


def _of_png(encoded):
    import tensorflow as tf

    def walk():
        return _walk(encoded, 8, _png_chunk, PNG_LITERALS[:2])

    return tf.cond(_contains_any(encoded, PNG_LITERALS), walk, lambda: _plain(True))


def _png_chunk(encoded, position):
    import tensorflow as tf

    head = _bytes(encoded, position, 8)
    length = tf.where(head[0] < 0x40, ((head[0] * 256 + head[1]) * 256 + head[2]) * 256 + head[3], 0x40000000)
    name = _text(encoded, position + 4, 4)
    text = _text(encoded, position + 8, len(XMP_IN_PNG) + 4)
    is_text = (name == b"iTXt") | (name == b"tEXt") | (name == b"zTXt")
    xmp = is_text & _starts_with(text, XMP_IN_PNG)
    plain = (name == b"iTXt") & _starts_with(text, XMP_IN_PNG + b"\0")  # not compressed
    profile = is_text & _starts_with(text, b"Raw profile type exi")
    kind = _first((name == b"eXIf", EXIF), (xmp & plain, XMP), (xmp | profile, UNSURE), (name == b"IEND", END))
    return Block(kind, position + 8, length, position + 12 + length)


def _of_webp(encoded):
    import tensorflow as tf

    extended = tf.strings.substr(encoded, 12, 4) == b"VP8X"
    flags = _bytes(encoded, 20, 1)[0]
    animated, noted = tf.bitwise.bitwise_and(flags, 0x02) > 0, tf.bitwise.bitwise_and(flags, 0x0C) > 0
    notes = tf.cond(extended & noted, lambda: _walk(encoded, 12, _webp_chunk), lambda: _plain(True))
    return notes._replace(sure=notes.sure & ~(extended & animated))


def _webp_chunk(encoded, position):
    import tensorflow as tf

    name = _text(encoded, position, 4)
    size = _bytes(encoded, position + 4, 4)
    length = tf.where(size[3] < 0x40, ((size[3] * 256 + size[2]) * 256 + size[1]) * 256 + size[0], 0x40000000)
    marked = _starts_with(_text(encoded, position + 8, len(EXIF_MARKER)), EXIF_MARKER)
    skipped = tf.where(marked, len(EXIF_MARKER), 0)
    end = position >= tf.strings.length(encoded)
    kind = _first((end, END), (name == b"EXIF", EXIF), (name == b"XMP ", XMP))
    skipped = tf.where(name == b"EXIF", skipped, 0)
    return Block(kind, position + 8 + skipped, length - skipped, position + 8 + length + length % 2)


def _of_gif(encoded):
    """Sure where the first frame fills the screen and has no transparency: Pillow shows the colours underneath."""
    import tensorflow as tf

    screen = _bytes(encoded, 6, 5)
    start = 13 + tf.where(screen[4] >= 0x80, 3 * 2 ** (screen[4] % 8 + 1), 0)
    return _walk(encoded, start, lambda encoded, position: _gif_block(encoded, position, screen))


def _gif_block(encoded, position, screen):
    import tensorflow as tf

    head = _bytes(encoded, position, 10)
    extension, image = head[0] == 0x21, head[0] == 0x2C
    transparent = extension & (head[1] == 0xF9) & (head[3] % 2 == 1)
    fills = tf.reduce_all(head[1:5] == 0) & tf.reduce_all(head[5:9] == screen[:4])
    colours = (screen[4] >= 0x80) | (head[9] >= 0x80)
    kind = _first(
        (transparent, UNSURE), (extension, OTHER), (image & fills & colours, END), (tf.constant(True), UNSURE)
    )

    def after(start):  # sub-blocks, each after its length, up to one of length 0
        def more(at):
            return _bytes(encoded, at, 1)[0] > 0

        (end,) = tf.while_loop(more, lambda at: (at + 1 + _bytes(encoded, at, 1)[0],), (start,))
        return end + 1

    following = tf.cond(extension, lambda: after(position + 2), lambda: position + 1)
    return Block(kind, position, tf.constant(0), following)


def _of_bmp(encoded):
    """Sure for 24 bits without compression, and for 8 bits with the palette of all grey values in order."""
    import tensorflow as tf

    header = _bytes(encoded, 14, 20)
    known = tf.reduce_any(header[0] == tf.constant(BMP_HEADERS)) & tf.reduce_all(header[1:4] == 0)
    bits, compression = header[14] + 256 * header[15], tf.reduce_sum(header[16:20])
    palette = tf.reshape(_bytes(encoded, 14 + header[0], 4 * 256), [256, 4])
    grey = (bits == 8) & tf.reduce_all(palette[:, :3] == tf.range(256)[:, None])
    return _plain(known & ((bits == 24) | grey) & (compression == 0))


def _plain(sure):
    """The `Notes` of a file without any."""
    import tensorflow as tf

    nowhere = tf.constant(-1)
    return Notes(tf.convert_to_tensor(sure), nowhere, nowhere, nowhere, nowhere)


def _walk(encoded, start, read, literals=()):
    """The `Notes` of a file: its only EXIF block, and its last XMP text; not sure where that is unclear.

    Args:
        read: (encoded, position) -> `Block`.
        literals: without any of which nothing can follow an EXIF block, so that the walk ends there.
    """
    import tensorflow as tf

    size = tf.strings.length(encoded)

    def step(position, done, notes):
        block = read(encoded, position)
        inside = (block.next > position) & (block.start + block.length <= size)
        is_exif, is_xmp, end = block.kind == EXIF, block.kind == XMP, block.kind == END
        sure = notes.sure & (end | inside & (block.kind != UNSURE) & ~(is_exif & (notes.exif >= 0)))
        if literals:
            end |= tf.cond(is_exif, lambda: ~_contains_any(_text(encoded, block.next, size), literals), lambda: False)
        found = Notes(
            sure,
            tf.where(is_exif, block.start, notes.exif),
            tf.where(is_exif, block.length, notes.exif_length),
            tf.where(is_xmp, block.start, notes.xmp),
            tf.where(is_xmp, block.length, notes.xmp_length),
        )
        return block.next, end | ~sure, found

    first = tf.convert_to_tensor(start), tf.constant(False), _plain(True)
    return tf.while_loop(lambda position, done, notes: ~done, step, first)[-1]


def _begins(encoded, pattern):
    """Whether a file begins with a regular expression of bytes."""
    import tensorflow as tf

    return tf.strings.regex_full_match(tf.strings.substr(encoded, 0, 16), rf"(?:{pattern})\C*")


def _contains_any(encoded, literals):
    """Whether one of several byte strings occurs in a file.

    A replacement looks for the beginning of a literal with memchr; a match of the whole file reads it byte by byte.
    """
    import tensorflow as tf

    lengths = []
    for literal in literals:
        pattern = "".join(rf"\x{byte:02x}" if byte < 0x80 else r"\C" for byte in literal)  # RE2's \xff is UTF-8's
        lengths.append(tf.strings.length(tf.strings.regex_replace(encoded, pattern, "", replace_global=False)))
    return tf.reduce_any(tf.stack(lengths) < tf.strings.length(encoded))


def _starts_with(text, literal):
    import tensorflow as tf

    return tf.strings.substr(text, 0, len(literal)) == literal


def _text(encoded, position, length):
    """Bytes of a file from a position on, fewer at its end; a string scalar."""
    import tensorflow as tf

    return tf.strings.substr(encoded, tf.minimum(position, tf.strings.length(encoded)), length)


def _bytes(encoded, position, length):
    """int32 (length,): bytes of a file from a position on; zeros behind its end."""
    import tensorflow as tf

    data = tf.io.decode_raw(_text(encoded, position, length) + b"\0" * length, tf.uint8)[:length]
    return tf.ensure_shape(tf.cast(data, tf.int32), [length])


def _first(*cases):
    """The value of the first condition that holds, else OTHER."""
    import tensorflow as tf

    found = tf.constant(OTHER)
    for condition, value in reversed(cases):
        found = tf.where(condition, value, found)
    return found
