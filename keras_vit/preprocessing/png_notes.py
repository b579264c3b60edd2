"""Notes in a PNG that Pillow refuses the whole image for: libpng, and with it browsers and TensorFlow, leave them out.

W3C, "Portable Network Graphics", Sec. 5.3: a chunk is its length, its name, its content and a CRC-32 of the last two; a
small first letter says that the image can be shown without it.
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def without_notes(content):
    """The bytes of a PNG without its notes; None if there are none, and for other files.

    Those that may tell the orientation stay, with the right checksum: a graph, which computes none, turns by them.
    """
    if not content.startswith(SIGNATURE):
        return None
    kept, position = [SIGNATURE], len(SIGNATURE)
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if not name[0] & 0x20:
            kept.append(content[position:end])
        elif _may_tell_orientation(name, content[position + 8 : end - 4]):
            chunk = content[position : end - 4]
            kept += [chunk, zlib.crc32(chunk[4:]).to_bytes(4, "big")]
        position = end
    bare = b"".join([*kept, content[position:]])
    return None if bare == content else bare


def _may_tell_orientation(name, note):
    """Whether it is EXIF, or text that is not compressed: keyword, 0, and a byte that says so (Sec. 11.3.3.4)."""
    return name == b"eXIf" or name == b"iTXt" and note.partition(b"\0")[2][:1] == b"\0"
