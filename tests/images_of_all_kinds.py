"""Valid images of every kind that users have, by name, and what Pillow sees in them: the reference of all decoders.

Pillow writes most of them; what it cannot write (interlaced PNG, BMP's masks and run lengths, GIF's small frames, EXIF
in odd places) is put together here, byte by byte, from the formats' specifications.
"""

import contextlib
import functools
import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

H, W = 24, 33
ROUNDED = ("jpeg_cmyk_black.jpg",)  # off by 1 of 255 in graphs: from CMYK, TensorFlow rounds down, Pillow to nearest
BEYOND_PILLOW = ("bmp_32_rgbx_masks.bmp", "bmp_32_xrgb_masks.bmp")  # valid, but nothing of ours reads them


@functools.cache
def images():
    """{name: bytes}, in the order of the formats."""
    found = {}
    for make in (_jpegs, _pngs, _gifs, _bmps, _webps, _tiffs, _others):
        for name, content in make():
            assert name not in found, name
            found[name] = content
    return found


def seen_by_pillow(content):
    """uint8 (H0, W0, 3): Pillow's own chain, and of 16 bits a channel the upper 8; None where it must be refused."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
        sixteen_bits = image.mode.startswith("I;16") or image.mode == "I" and image.format in ("PNG", "PPM")
        image = ImageOps.exif_transpose(image)
        if sixteen_bits:
            image = Image.fromarray((np.asarray(image) // 256).astype("uint8"))
        if image.mode in ("I", "F"):
            return None
        return np.asarray(image.convert("RGB"))


def write(folder):
    """Write every image as NAME.bytes, and what Pillow sees as NAME.npy, into a folder."""
    for name, content in images().items():
        (folder / f"{name}.bytes").write_bytes(content)
        with contextlib.suppress(OSError):  # what Pillow cannot read either
            if (expected := seen_by_pillow(content)) is not None:
                np.save(folder / f"{name}.npy", expected)


def colours(height=H, width=W):
    """A smooth image without any symmetry, uint8 (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    channels = (250 * columns, 40 + 200 * rows, 255 - 120 * columns - 120 * rows)
    return np.stack(channels, -1).astype("uint8")


def _saved(image, kind, **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def _rgb():
    return Image.fromarray(colours())


def _with_black():
    """CMYK whose fourth channel is not zero, as that of printed images; Pillow's own conversion makes it zero."""
    inks = colours(H, W)
    return Image.fromarray(np.concatenate([inks, inks[::-1, :, :1]], -1), "CMYK")


def _with_alpha():
    alpha = Image.fromarray(np.mgrid[0:H, 0:W][1].astype("uint8") * 7)
    image = _rgb()
    image.putalpha(alpha)
    return image


# EXIF and XMP


def tiff_block(entries, order="<", directory=8, padding=0):
    """An EXIF block from (tag, type, count, four bytes of value) entries, without the "Exif" marker."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    body = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(f"{order}HHI", tag, kind, count) + value
    return head + bytes(directory - 8) + body + bytes(4 + padding)


def oriented(value, order="<", **where):
    """An EXIF block with an orientation of type SHORT."""
    return tiff_block([(0x0112, 3, 1, struct.pack(f"{order}HH", value, 0))], order, **where)


def xmp(value, form="attribute"):
    """An XMP text with an orientation."""
    inside = {
        "attribute": f'<rdf:Description tiff:Orientation="{value}"/>',
        "element": f"<rdf:Description><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>",
    }[form]
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{inside}</rdf:RDF></x:xmpmeta>'.encode()


ODD_EXIF = {  # name: EXIF block whose orientation stands in an unusual way
    "long": tiff_block([(0x0112, 4, 1, struct.pack("<I", 6))]),
    "long_big_endian": tiff_block([(0x0112, 4, 1, struct.pack(">I", 6))], ">"),
    "70th_entry": tiff_block([(0x0200 + i, 3, 1, bytes(4)) for i in range(69)] + [(0x0112, 3, 1, b"\6\0\0\0")]),
    "directory_at_3000": oriented(6, directory=3000),
    "ascii": tiff_block([(0x0112, 2, 2, b"6\0\0\0")]),
    "byte": tiff_block([(0x0112, 1, 1, b"\6\0\0\0")]),
    "signed_short": tiff_block([(0x0112, 8, 1, b"\6\0\0\0")]),
    "rational": tiff_block([(0x0112, 5, 1, struct.pack("<I", 26))], padding=0)[:-4]
    + bytes(4)
    + struct.pack("<II", 6, 1),
    "two_shorts": tiff_block([(0x0112, 3, 2, b"\6\0\1\0")]),
    "unknown_type": tiff_block([(0x0112, 77, 1, b"\6\0\0\0")]),
    "zero": oriented(0),
    "nine": oriented(9),
    "none": tiff_block([(0x0100, 3, 1, b"\6\0\0\0")]),
    "value_beyond_end_before_it": tiff_block([(0x010F, 2, 500, struct.pack("<I", 9000)), (0x0112, 3, 1, b"\6\0\0\0")]),
    "twice": tiff_block([(0x0112, 3, 1, b"\6\0\0\0"), (0x0112, 3, 1, b"\3\0\0\0")]),
}


def segment(marker, content):
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def exif_segment(block):
    return segment(0xE1, b"Exif\0\0" + block)


def xmp_segment(text):
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text)


def _jpegs():
    plain = _saved(_rgb(), "jpeg", quality=90)

    def put(*segments):
        return plain[:2] + b"".join(segments) + plain[2:]

    yield "jpeg_rgb.jpg", plain
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"jpeg_{name}.jpg", _saved(_rgb(), "jpeg", quality=80, subsampling=subsampling)
    yield "jpeg_grey.jpg", _saved(_rgb().convert("L"), "jpeg")
    yield "jpeg_progressive.jpg", _saved(_rgb(), "jpeg", progressive=True)
    yield "jpeg_optimized.jpg", _saved(_rgb(), "jpeg", optimize=True)
    yield "jpeg_restart_markers.jpg", _saved(_rgb(), "jpeg", restart_marker_blocks=1)
    yield "jpeg_rgb_not_ycc.jpg", _saved(_rgb(), "jpeg", keep_rgb=True)
    yield "jpeg_quality_5.jpg", _saved(_rgb(), "jpeg", quality=5)
    yield "jpeg_comment.jpg", _saved(_rgb(), "jpeg", comment='Exif\0\0 and tiff:Orientation="6" in a comment')
    yield "jpeg_icc_profile.jpg", _saved(_rgb(), "jpeg", icc_profile=bytes(range(256)) * 300)
    yield "jpeg_1x1.jpg", _saved(colours(1, 1), "jpeg")
    yield "jpeg_1_column.jpg", _saved(colours(40, 1), "jpeg")
    yield "jpeg_behind_end.jpg", plain + b"more than the image: Exif\0\0" + oriented(6)
    cmyk = _saved(_rgb().convert("CMYK"), "jpeg", quality=95)
    yield "jpeg_cmyk_adobe.jpg", cmyk
    at = cmyk.index(b"\xff\xee")
    yield "jpeg_cmyk_noadobe.jpg", cmyk[:at] + cmyk[at + 16 :]
    yield "jpeg_cmyk_turned.jpg", cmyk[:2] + exif_segment(oriented(6)) + cmyk[2:]
    yield "jpeg_cmyk_black.jpg", _saved(_with_black(), "jpeg", quality=95)
    for order, name in (("<", "little"), (">", "big")):
        for value in range(1, 9):
            yield f"jpeg_exif_{value}_{name}.jpg", put(exif_segment(oriented(value, order)))
    for name, block in ODD_EXIF.items():
        yield f"jpeg_exif_{name}.jpg", put(exif_segment(block))
    yield "jpeg_exif_after_xmp.jpg", put(xmp_segment(xmp(1) + b" " * 4000), exif_segment(oriented(6)))
    yield "jpeg_exif_after_200_kB.jpg", put(*[segment(0xE2, bytes(50_000))] * 4, exif_segment(oriented(6)))
    yield "jpeg_exif_after_sizes.jpg", plain[: plain.index(b"\xff\xda")] + exif_segment(oriented(8)) + plain[
        plain.index(b"\xff\xda") :
    ]
    yield "jpeg_exif_padded.jpg", plain[:2] + b"\xff\xff" + exif_segment(oriented(5)) + plain[2:]
    yield "jpeg_exif_in_two_segments.jpg", put(exif_segment(oriented(6)), exif_segment(oriented(3)))
    yield "jpeg_exif_in_another_segment.jpg", put(segment(0xED, exif_segment(oriented(6))), exif_segment(oriented(3)))
    yield "jpeg_exif_with_thumbnail.jpg", put(exif_segment(oriented(6) + plain))
    yield "jpeg_exif_1_xmp_6.jpg", put(exif_segment(oriented(1)), xmp_segment(xmp(6)))
    yield "jpeg_exif_none_but_xmp_6.jpg", put(exif_segment(ODD_EXIF["none"]), xmp_segment(xmp(6)))
    for value in (1, 3, 6, 8):
        yield f"jpeg_xmp_{value}.jpg", put(xmp_segment(xmp(value)))
    yield "jpeg_xmp_element_6.jpg", put(xmp_segment(xmp(6, "element")))
    yield "jpeg_xmp_not_utf8_6.jpg", put(xmp_segment(b"\xff\xfe\x80" + xmp(6)))
    yield "jpeg_mpo.jpg", _saved(_rgb(), "mpo", save_all=True, append_images=[_rgb().rotate(180)])


# PNG


def chunk(name, content):
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(rows, bits, colour_type, *between, interlaced=0, size=(H, W), after=()):
    """A PNG of raw rows, each without its filter byte, with further chunks before or after the pixels."""
    head = struct.pack(">IIBBBBB", size[1], size[0], bits, colour_type, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    chunks = [chunk(b"IHDR", head), *between, chunk(b"IDAT", pixels), *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _packed(values, bits):
    """Rows of integers below 2^bits, packed into bytes."""
    digits = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in digits]


def _adam7(image):
    """Rows of an interlaced PNG of uint8 (H, W, C)."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    for top, left, down, right in passes:
        yield from (row.tobytes() for row in image[top::down, left::right] if row.size)


def _pngs():
    rgb, grey = colours(), colours()[..., 0]
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield f"png_{mode}.png", _saved(_with_alpha().convert(mode), "png")
    wide = (np.mgrid[0:H, 0:W][1] * 1900 + 7).astype(">u2")
    yield "png_grey16.png", _saved(Image.fromarray(wide.astype("uint16")), "png")
    for bits in (1, 2, 4):
        yield f"png_grey{bits}.png", png(_packed(grey >> (8 - bits), bits), bits, 0)
    palette = chunk(b"PLTE", bytes(np.random.default_rng(0).integers(0, 256, 48, "uint8")))
    for bits in (1, 2, 4, 8):
        rows = _packed((grey >> 4) % min(16, 2**bits), bits)
        yield f"png_palette{bits}.png", png(rows, bits, 3, palette)
        yield f"png_palette{bits}_transparent.png", png(rows, bits, 3, palette, chunk(b"tRNS", b"\0\x80"))
    yield "png_grey_transparent.png", png(list(grey), 8, 0, chunk(b"tRNS", struct.pack(">H", int(grey[0, 0]))))
    yield "png_grey16_transparent.png", png([r.tobytes() for r in wide], 16, 0, chunk(b"tRNS", struct.pack(">H", 7)))
    yield "png_rgb_transparent.png", png(
        [r.tobytes() for r in rgb], 8, 2, chunk(b"tRNS", struct.pack(">3H", *rgb[0, 0]))
    )
    deep = np.stack([wide, wide[::-1], 65535 - wide], -1).astype(">u2")
    yield "png_rgb16.png", png([row.tobytes() for row in deep], 16, 2)
    yield "png_rgba16.png", png([row.tobytes() for row in np.concatenate([deep, wide[..., None]], -1)], 16, 6)
    yield "png_la16.png", png([row.tobytes() for row in np.stack([wide, wide[::-1]], -1)], 16, 4)
    yield "png_interlaced.png", png(_adam7(rgb), 8, 2, interlaced=1)
    yield "png_interlaced_grey.png", png(_adam7(grey[..., None]), 8, 0, interlaced=1)
    yield "png_gamma.png", png([r.tobytes() for r in rgb], 8, 2, chunk(b"gAMA", struct.pack(">I", 100_000)))
    yield "png_srgb.png", png(
        [r.tobytes() for r in rgb], 8, 2, chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 45455))
    )
    yield "png_background.png", _saved(_with_alpha(), "png", bits=8, bKGD=b"\0\0\0\0\0\0")
    yield "png_icc_profile.png", _saved(_rgb(), "png", icc_profile=bytes(500))
    yield "png_1x1.png", _saved(colours(1, 1), "png")
    yield "png_many_chunks.png", _saved(np.random.default_rng(0).integers(0, 256, (200, 200, 3), "uint8"), "png")
    frames = [Image.fromarray(255 - colours())]
    yield "png_animated.png", _saved(_rgb(), "png", save_all=True, append_images=frames)
    yield "png_animated_default_image.png", _saved(
        _rgb(), "png", save_all=True, append_images=frames, default_image=True
    )

    def noted(*between, after=()):
        return png([row.tobytes() for row in rgb], 8, 2, *between, after=after)

    for value in range(1, 9):
        yield f"png_exif_{value}.png", noted(chunk(b"eXIf", oriented(value, ">")))
    for name, block in ODD_EXIF.items():
        yield f"png_exif_{name}.png", noted(chunk(b"eXIf", block))
    yield "png_exif_after_pixels.png", noted(after=[chunk(b"eXIf", oriented(6))])
    yield "png_exif_in_a_text.png", noted(chunk(b"tEXt", b"Comment\0eXIf" + oriented(6)))
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6)
    yield "png_xmp_1.png", noted(chunk(b"iTXt", text.replace(b'"6"', b'"1"')))
    yield "png_xmp_6.png", noted(chunk(b"iTXt", text))
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(6))
    yield "png_xmp_6_compressed.png", noted(chunk(b"iTXt", packed))
    yield "png_exif_1_xmp_6.png", noted(chunk(b"eXIf", oriented(1)), chunk(b"iTXt", text))
    block = b"Exif\0\0" + oriented(6)
    profile = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    yield "png_exif_as_raw_profile.png", noted(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))
    yield "png_exif_as_raw_text.png", noted(chunk(b"tEXt", b"Raw profile type exif\0" + profile))


# GIF


def gif(frames, screen=(H, W), table=None, version=b"GIF89a", background=0):
    """A GIF of (top, left, rows, control, table, interlaced) frames; the fourth is a graphic control or b""."""
    size = 0 if table is None else 0x80 | (len(table) // 3).bit_length() - 2
    content = version + struct.pack("<HHBBB", screen[1], screen[0], size, background, 0) + (table or b"")
    for top, left, rows, control, own, interlaced in frames:
        packed = (0x40 if interlaced else 0) | (0 if own is None else 0x80 | (len(own) // 3).bit_length() - 2)
        content += (
            control + b"," + struct.pack("<HHHHB", left, top, rows.shape[1], rows.shape[0], packed) + (own or b"")
        )
        content += b"\x07" + _sub_blocks(_uncompressed_lzw(rows.reshape(-1)))
    return content + b";"


def control(transparent=None, disposal=0):
    """A graphic control extension."""
    flags = disposal << 2 | (transparent is not None)
    return b"!\xf9\x04" + struct.pack("<BHB", flags, 10, transparent or 0) + b"\0"


def _sub_blocks(data):
    parts = [data[i : i + 255] for i in range(0, len(data), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _uncompressed_lzw(indices):
    """Seven-bit indices as LZW codes of eight bits, cleared before the codes would grow."""
    codes = []
    for start in range(0, len(indices), 100):
        codes += [128, *indices[start : start + 100]]
    return bytes([*map(int, codes), 129])


def _gifs():
    table = bytes(np.random.default_rng(1).integers(0, 256, 3 * 128, "uint8"))
    other = table[::-1]
    rows = (np.mgrid[0:H, 0:W].sum(0) * 2 % 128).astype("uint8")
    whole = (0, 0, rows, b"", None, False)
    order = [*range(0, H, 8), *range(4, H, 8), *range(2, H, 4), *range(1, H, 2)]
    yield "gif_87a.gif", gif([whole], table=table, version=b"GIF87a")
    yield "gif_89a.gif", gif([whole], table=table)
    yield "gif_background.gif", gif([whole], table=table, background=5)
    yield "gif_own_table.gif", gif([(0, 0, rows, b"", other, False)], table=table)
    yield "gif_only_own_table.gif", gif([(0, 0, rows, b"", other, False)])
    yield "gif_no_table.gif", gif([whole])
    yield "gif_interlaced.gif", gif([(0, 0, rows[order], b"", None, True)], table=table)
    yield "gif_control.gif", gif([(0, 0, rows, control(), None, False)], table=table)
    yield "gif_transparent.gif", gif([(0, 0, rows, control(10), None, False)], table=table)
    yield "gif_transparent_unused.gif", gif([(0, 0, rows % 100, control(120), None, False)], table=table)
    small = rows[:10, :12]
    yield "gif_small_first_frame.gif", gif([(3, 5, small, b"", None, False)], table=table, background=7)
    yield "gif_small_transparent_frame.gif", gif([(3, 5, small, control(4), None, False)], table=table, background=7)
    yield "gif_large_first_frame.gif", gif([whole], screen=(10, 12), table=table)
    yield "gif_second_frame_small.gif", gif([whole, (3, 5, small, control(4, 2), other, False)], table=table)
    yield "gif_second_frame_transparent.gif", gif(
        [(0, 0, rows, control(), None, False), (0, 0, rows, control(3), None, False)], table=table
    )
    comment = b"!\xfe" + _sub_blocks(b"!\xf9,;" * 100)
    yield "gif_comment.gif", gif([(0, 0, rows, comment, None, False)], table=table)
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    yield "gif_loop.gif", gif([(0, 0, rows, loop + control(), None, False)], table=table)
    yield "gif_by_pillow.gif", _saved(_rgb(), "gif")
    yield "gif_grey_by_pillow.gif", _saved(_rgb().convert("L"), "gif")
    yield "gif_two_colours.gif", _saved(_rgb().convert("1"), "gif")
    yield "gif_animated_by_pillow.gif", _saved(_rgb(), "gif", save_all=True, append_images=[_rgb().rotate(90)])


# BMP


def bmp(rows, bits, compression=0, palette=b"", masks=b"", header=40, size=(H, W), top_down=False):
    """A BMP of rows of bytes, from the lowest, each without its padding; or of run lengths as they are."""
    data = rows if isinstance(rows, bytes) else b"".join(bytes(row) + bytes(-len(row) % 4) for row in rows)
    if header == 12:
        info = struct.pack("<IHHHH", 12, size[1], size[0], 1, bits)
    else:
        height = -size[0] if top_down else size[0]
        used = len(palette) // 4
        info = struct.pack(
            "<IiiHHIIiiII", header, size[1], height, 1, bits, compression, len(data), 2835, 2835, used, 0
        )
        if header > 40:
            info, masks = (info + masks + bytes(header - 40 - len(masks)))[:header], b""
    start = 14 + len(info) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + masks + palette + data


def _masked(rgb, masks, bits):
    """Rows of pixels of 16 or 32 bits with the channels where the masks say."""
    total = np.zeros(rgb.shape[:2], "uint32")
    for channel, mask in zip(np.moveaxis(rgb, -1, 0), masks):
        shift, width = (mask & -mask).bit_length() - 1, bin(mask).count("1")
        total |= (channel.astype("uint32") >> (8 - width)) << shift
    return [row.astype(f"<u{bits // 8}").tobytes() for row in total[::-1]]


def _bmps():
    rgb, grey = colours(), colours()[..., 0]
    bgr = [np.ascontiguousarray(row[:, ::-1]).tobytes() for row in rgb[::-1]]
    random = np.random.default_rng(2).integers(0, 256, (256, 4), "uint8")
    random[:, 3] = 0
    for bits in (1, 4, 8):
        indices = grey[::-1] >> (8 - bits)
        rows = _packed(indices, bits)
        colours_used = 2**bits
        yield f"bmp_palette{bits}.bmp", bmp(rows, bits, palette=random[:colours_used].tobytes())
        ramp = np.repeat(np.linspace(0, 255, colours_used).astype("uint8")[:, None], 4, 1)
        ramp[:, 3] = 0
        yield f"bmp_grey{bits}.bmp", bmp(rows, bits, palette=ramp.tobytes())
        yield f"bmp_inverted{bits}.bmp", bmp(rows, bits, palette=ramp[::-1].tobytes())
    yield "bmp_palette8_short.bmp", bmp(_packed((grey[::-1] >> 4).astype("uint8"), 8), 8, palette=random[:16].tobytes())
    yield "bmp_24.bmp", bmp(bgr, 24)
    yield "bmp_24_top_down.bmp", bmp(bgr[::-1], 24, top_down=True)
    yield "bmp_24_os2.bmp", bmp(bgr, 24, header=12)
    yield "bmp_palette8_os2.bmp", bmp(_packed(grey[::-1], 8), 8, header=12, palette=random[:, :3].tobytes())
    srgb = struct.pack("<4I4s", 0, 0, 0, 0, b"BGRs")
    yield "bmp_24_v5.bmp", bmp(bgr, 24, header=124, masks=srgb)
    yield "bmp_24_v4.bmp", bmp(bgr, 24, header=108, masks=srgb)
    yield "bmp_24_1x1.bmp", _saved(colours(1, 1), "bmp")
    filler = np.full((H, W, 1), 0, "uint8")
    bgrx = [np.concatenate([rgb[y, :, ::-1], filler[y]], -1).tobytes() for y in range(H)][::-1]
    yield "bmp_32.bmp", bmp(bgrx, 32)
    yield "bmp_32_alpha.bmp", _saved(_with_alpha(), "bmp")
    masks_555, masks_565 = (0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)
    yield "bmp_16_555.bmp", bmp(_masked(rgb, masks_555, 16), 16)
    for name, masks in (("555", masks_555), ("565", masks_565)):
        rows = _masked(rgb, masks, 16)
        yield f"bmp_16_{name}_masks.bmp", bmp(rows, 16, 3, masks=struct.pack("<3I", *masks))
        yield f"bmp_16_{name}_masks_v4.bmp", bmp(rows, 16, 3, masks=struct.pack("<4I", *masks, 0), header=108)
    orders = {
        "bgrx": (0xFF0000, 0xFF00, 0xFF),
        "rgbx": (0xFF, 0xFF00, 0xFF0000),
        "xbgr": (0xFF000000, 0xFF0000, 0xFF00),
        "xrgb": (0xFF00, 0xFF0000, 0xFF000000),
    }
    for name, masks in orders.items():
        yield f"bmp_32_{name}_masks.bmp", bmp(_masked(rgb, masks, 32), 32, 3, masks=struct.pack("<3I", *masks))
    rows = _masked(rgb, orders["bgrx"], 32)
    yield "bmp_32_masks_v5.bmp", bmp(rows, 32, 3, masks=struct.pack("<4I", *orders["bgrx"], 0xFF000000), header=124)
    runs = b"".join(b"".join(bytes([1, value]) for value in row[:20]) + bytes([W - 20, 9, 0, 0]) for row in grey[::-1])
    yield "bmp_rle8.bmp", bmp(runs + b"\0\1", 8, 1, palette=random.tobytes())
    absolute = b"".join(bytes([0, W, *row, 0]) + b"\0\0" for row in grey[::-1])
    yield "bmp_rle8_absolute.bmp", bmp(absolute + b"\0\1", 8, 1, palette=random.tobytes())
    nibbles = b"".join(bytes([W, (row[0] >> 4) << 4 | row[-1] >> 4, 0, 0]) for row in grey[::-1])
    yield "bmp_rle4.bmp", bmp(nibbles + b"\0\1", 4, 2, palette=random[:16].tobytes())
    for mode in ("1", "L", "P", "RGB"):
        yield f"bmp_by_pillow_{mode}.bmp", _saved(_rgb().convert(mode), "bmp")


def _webps():
    for name, options in (("lossy", {"quality": 80}), ("lossless", {"lossless": True}), ("method_6", {"method": 6})):
        yield f"webp_{name}.webp", _saved(_rgb(), "webp", **options)
        yield f"webp_{name}_alpha.webp", _saved(_with_alpha(), "webp", **options)
    yield "webp_grey.webp", _saved(_rgb().convert("L"), "webp")
    yield "webp_1x1.webp", _saved(colours(1, 1), "webp")
    yield "webp_icc_profile.webp", _saved(_rgb(), "webp", icc_profile=bytes(101))
    yield "webp_animated.webp", _saved(_rgb(), "webp", save_all=True, append_images=[_rgb().rotate(180)])
    for value in range(1, 9):
        yield f"webp_exif_{value}.webp", _saved(_rgb(), "webp", exif=b"Exif\0\0" + oriented(value))
    for name in ("long", "70th_entry", "ascii", "none", "twice"):
        yield f"webp_exif_{name}.webp", _saved(_rgb(), "webp", exif=ODD_EXIF[name])
    yield "webp_exif_alpha.webp", _saved(_with_alpha(), "webp", lossless=True, exif=oriented(6))
    yield "webp_xmp_6.webp", _saved(_rgb(), "webp", xmp=xmp(6))
    yield "webp_exif_1_xmp_6.webp", _saved(_rgb(), "webp", exif=oriented(1), xmp=xmp(6))


def _tiffs():
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        yield f"tiff_{mode}.tif", _saved(_with_alpha().convert(mode), "tiff")
    wide = (np.mgrid[0:H, 0:W][1] * 1900 + 7).astype("uint16")
    yield "tiff_grey16.tif", _saved(Image.fromarray(wide), "tiff")
    big = Image.frombytes("I;16B", (W, H), wide.astype(">u2").tobytes())
    yield "tiff_grey16_big_endian.tif", _saved(big, "tiff")
    yield "tiff_int32.tif", _saved(Image.fromarray(wide.astype("int32")), "tiff")
    yield "tiff_float32.tif", _saved(Image.fromarray((wide / 65535).astype("float32")), "tiff")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff_{compression}.tif", _saved(_rgb(), "tiff", compression=compression)
    yield "tiff_group4.tif", _saved(_rgb().convert("1"), "tiff", compression="group4")
    for value in range(1, 9):
        yield f"tiff_exif_{value}.tif", _saved(_rgb(), "tiff", tiffinfo={0x0112: value})
    yield "tiff_two_pages.tif", _saved(_rgb(), "tiff", save_all=True, append_images=[_rgb().rotate(90)])
    yield "tiff_big.tif", _saved(_rgb(), "tiff", big_tiff=True)


def _others():
    rgb, grey = _rgb(), _rgb().convert("L")
    yield "ppm.ppm", _saved(rgb, "ppm")
    yield "pgm.pgm", _saved(grey, "ppm")
    yield "pbm.pbm", _saved(grey.convert("1"), "ppm")
    wide = (np.mgrid[0:H, 0:W][1] * 1900 + 7).astype(">u2")
    yield "pgm16.pgm", b"P5 %d %d 65535\n" % (W, H) + wide.tobytes()
    yield "ppm16.ppm", b"P6 %d %d 65535\n" % (W, H) + np.repeat(wide[..., None], 3, -1).tobytes()
    yield "ppm_text.ppm", b"P3\n2 1\n255\n255 0 10  3 200 77\n"
    yield "tga.tga", _saved(rgb, "tga")
    yield "tga_rle.tga", _saved(rgb, "tga", compression="tga_rle")
    yield "tga_alpha.tga", _saved(_with_alpha(), "tga")
    yield "pcx.pcx", _saved(rgb, "pcx")
    yield "ico.ico", _saved(rgb.resize((32, 32)), "ico", sizes=[(32, 32)])
    yield "icns.icns", _saved(rgb.resize((128, 128)), "icns")
    yield "jp2.jp2", _saved(rgb, "jpeg2000")
    yield "jp2_lossy.jp2", _saved(rgb, "jpeg2000", quality_mode="rates", quality_layers=[10], irreversible=True)
    yield "jp2_grey16.jp2", _saved(Image.fromarray(wide.astype("uint16")), "jpeg2000")
    yield "sgi.sgi", _saved(rgb, "sgi")
    yield "dds.dds", _saved(rgb, "dds")
    yield "qoi.qoi", _saved(rgb, "qoi")
    yield "avif.avif", _saved(rgb, "avif")
    yield "avif_alpha.avif", _saved(_with_alpha(), "avif", quality=100)
    yield "avif_grey.avif", _saved(grey, "avif")
    yield "avif_exif_6.avif", _saved(rgb, "avif", exif=b"Exif\0\0" + oriented(6))
    yield "xbm.xbm", _saved(grey.convert("1"), "xbm")
