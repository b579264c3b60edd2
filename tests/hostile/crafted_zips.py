"""Zip files that unpack to more than they should, and .npz and safetensors files that claim what they do not hold.

Each is a function that writes one into a folder and returns its path.
"""

import bz2
import io
import json
import lzma
import struct
import zipfile
import zlib

from tests.weights.test_torch_file import storage, table, tensor

GIB = 2**30


def zeros(size, level=9):
    """`size` zero bytes, a multiple of 2^24, as a stream of deflate: packed once, repeated."""
    part = 2**24
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(part)) + packer.flush(zlib.Z_FULL_FLUSH)
    return packed * (size // part) + b"\x03\x00"


def raw_zip(path, *members):
    """A zip file of (name, method, packed bytes, declared size, checksum), none of which is compared with another."""
    body, directory = b"", b""
    for member, method, packed, size, crc in members:
        text = member.encode()
        fields = (20, 0, method, 0, 33, crc, min(len(packed), 2**32 - 1), min(size, 2**32 - 2), len(text))
        directory += struct.pack("<4sH5H3L5H2L", b"PK\1\2", 20, *fields, 0, 0, 0, 0, 0, len(body)) + text
        body += struct.pack("<4s5H3L2H", b"PK\3\4", *fields, 0) + text + packed
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(members), len(members), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


def npy(shape, descr="<f4", fortran=False):
    """The header of an .npy file that claims a shape."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text = text.ljust(-(-(len(text) + 11) // 64) * 64 - 11) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()


def npz(path, content, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("head/bias.npy", content)
    return path


def _deflated_npz(folder):
    header = npy((GIB,))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH) + zeros(4 * GIB)
    return raw_zip(folder / "w.npz", ("head/bias.npy", 8, packed, 4 * GIB + len(header), 0))


def _lying_npz(method, module, size):
    """A member that declares few bytes, and unpacks to many."""

    def write(folder):
        packed = module.compress(npy((4,)) + bytes(size))
        if method == zipfile.ZIP_DEFLATED:
            packed = packed[2:-4]
        return raw_zip(folder / "w.npz", ("head/bias.npy", method, packed, len(npy((4,))) + 16, 0))

    return write


def _claiming_npz(folder):
    return raw_zip(folder / "w.npz", ("head/bias.npy", 12, b"BZh9" + bytes(100), 2**32 - 2, 0))


def _torch_member(member):
    """A torch file of which a member unpacks to 4 GB."""

    def write(folder):
        tree = b"\x80\x02" + table(x=tensor(storage("0", GIB), 0, (GIB,), (1,))) + b"."
        usual = {"data.pkl": tree, "byteorder": b"little", "data/0": bytes(8)}
        members = [(f"archive/{key}", 0, data, len(data), zlib.crc32(data)) for key, data in usual.items()]
        bomb = (f"archive/{member}", 8, zeros(4 * GIB), 2**32 - 2**24, 0)
        return raw_zip(folder / "w.pth", *(bomb if entry[0] == bomb[0] else entry for entry in members))

    return write


def _many_members(folder):
    path = folder / "w.npz"
    with zipfile.ZipFile(path, "w") as file:
        for index in range(30_000):
            file.writestr(f"{index}.npy", b"")
    return path


def _overlapping(folder):
    """200 members that are the same bytes of the file."""
    data = npy((2**18,)) + bytes(2**20)
    path = raw_zip(folder / "w.npz", ("a.npy", 0, data, len(data), zlib.crc32(data)))
    content = path.read_bytes()
    start = content.rindex(b"PK\1\2")
    entry = content[start : content.rindex(b"PK\5\6")]
    directory = b"".join(entry.replace(b"a.npy", f"{n:05d}".encode()) for n in range(500))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 500, 500, len(directory), start, 0)
    path.write_bytes(content[:start] + directory.replace(b"00000", b"a.npy") + end)
    return path


def _directory_of_gigabytes(folder):
    path = folder / "w.npz"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2**31, 0, 0)
    with open(path, "wb") as file:
        file.write(b"PK\3\4")
        file.truncate(2**31 + 100)
        file.seek(0, io.SEEK_END)
        file.write(end)
    return path


ZIPS = {
    "deflated 4 GB": _deflated_npz,
    "bz2 that is longer than it says": _lying_npz(zipfile.ZIP_BZIP2, bz2, 2**25),
    "lzma that is longer than it says": _lying_npz(zipfile.ZIP_LZMA, lzma, 2**20),
    "deflate that is longer than it says": _lying_npz(zipfile.ZIP_DEFLATED, zlib, 2**25),
    "bz2 that claims 4 GB": _claiming_npz,
    "data.pkl of 4 GB": _torch_member("data.pkl"),
    "byteorder of 4 GB": _torch_member("byteorder"),
    "a storage of 4 GB": _torch_member("data/0"),
    "30,000 members": _many_members,
    "500 members of the same bytes": _overlapping,
    "a directory of 2 GB": _directory_of_gigabytes,
    "an unknown method": lambda folder: raw_zip(folder / "w.npz", ("x.npy", 99, b"abc", 3, 0)),
    "no member": lambda folder: raw_zip(folder / "w.npz"),
    "data.pkl in two folders": lambda folder: raw_zip(
        folder / "w.pth", ("a/data.pkl", 0, b".", 1, 0), ("b/data.pkl", 0, b".", 1, 0)
    ),
}

ARRAYS = {  # what an .npy member claims
    "2^40 numbers": npy((2**40,)) + bytes(8),
    "2^70 numbers": npy((2**70,)) + bytes(8),
    "2^70 times none": npy((2**70, 0)),
    "a negative size": npy((-4,)) + bytes(16),
    "a size that is True": npy("(True,)") + bytes(4),
    "a size that is no number": npy("('a',)") + bytes(4),
    "a size of 5,000 digits": npy(f"({'9' * 3000},)") + bytes(4),
    "33 axes": npy((1,) * 33) + bytes(4),
    "70 axes": npy((1,) * 70) + bytes(4),
    "objects": npy((1,), "|O") + bytes(8),
    "numbers of no bytes": npy((2**40,), "|V0"),
    "numbers of many bytes": npy((1,), "|V2147483647") + bytes(8),
    "arrays of arrays": npy((2,), [("a", "<f4", (2**28,))]) + bytes(8),
    "text": npy((5,), "<U1") + bytes(20),
    "dates": npy((5,), "<M8[s]") + bytes(40),
    "complex numbers": npy((5,), "<c8") + bytes(40),
    "parentheses, 4,000 deep": b"\x93NUMPY\1\0" + struct.pack("<H", 4000) + b"(" * 3999 + b"\n",
    "signs, 4,000 deep": b"\x93NUMPY\1\0" + struct.pack("<H", 4000) + b"-" * 3998 + b"1\n",
    "a header longer than the file": b"\x93NUMPY\2\0" + struct.pack("<L", 2**31) + b"{}",
    "version 3": b"\x93NUMPY\3\0" + npy((1,))[8:],
    "no header": b"",
    "a header that is a list": b"\x93NUMPY\1\0" + struct.pack("<H", 3) + b"[]\n",
    "more numbers than it says": npy((5,)) + bytes(24),
    "fewer numbers than it says": npy((5,)) + bytes(16),
}
NPZ = {kind: lambda folder, content=content: npz(folder / "w.npz", content) for kind, content in ARRAYS.items()}


def safetensors(text, data=bytes(8), length=None):
    """A file with that header, text or an object, which says that it has `length` bytes."""
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    content = struct.pack("<Q", len(text) if length is None else length) + text + data

    def write(folder):
        (folder / "w.safetensors").write_bytes(content)
        return folder / "w.safetensors"

    return write


def _item(shape=(2,), offsets=(0, 8), dtype="F32"):
    return {"x": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


SAFETENSORS = {
    "a header of 2^63": safetensors(_item(), length=2**63),
    "a header of 2^40": safetensors(_item(), length=2**40),
    "a header of 20 MB": safetensors(b'{"x":' + b" " * (20 * 2**20) + b"{}}"),
    "2^62 numbers": safetensors(_item((2**62,))),
    "2^64 - 1 times none": safetensors(_item((2**64 - 1, 0), (0, 0)), b""),
    "2^32 times 2^32": safetensors(_item((2**32, 2**32), (0, 0)), b""),
    "a size that is no number": safetensors(_item(("a",))),
    "a size of 1.5": safetensors(_item((1.5,))),
    "a size of -2": safetensors(_item((-2,))),
    "offsets behind the end": safetensors(_item((2,), (0, 2**40))),
    "offsets in the wrong order": safetensors(_item((2,), (8, 0))),
    "offsets that overlap": safetensors(_item() | {"y": _item()["x"]}),
    "a number format that does not exist": safetensors(_item(dtype="F31")),
    "a number format of four bits": safetensors(_item((16,), dtype="F4")),
    "a list": safetensors(b"{[]}"),
    "100,000 levels": safetensors(b'{"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}"),
    "120 levels of metadata": safetensors(b'{"__metadata__":' + b"[" * 120 + b"]" * 120 + b"}"),
    "a name twice": safetensors(
        b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    ),
    "a name of 2 MB": safetensors({"n" * 2 * 10**6: _item()["x"]}),
    "a name that is half a character": safetensors(b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "30,000 names": safetensors({f"blocks.{n}.norm1.weight": _item((0,), (0, 0))["x"] for n in range(30_000)}, b""),
    "40 axes": safetensors(_item((1,) * 40, (0, 4)), bytes(4)),
    "nothing": safetensors({}, b""),
}
