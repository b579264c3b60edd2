"""Files of embeddings, a row per image, written as the images are embedded.

.npz      names (N,) of text, vectors (N, D) float32, model: the text of what made them, normalized: whether their
          lengths are 1; numpy.load reads it
.parquet  the columns name (string) and vector (list of D float32), and model and normalized as metadata; it needs
          pyarrow

Bytes of a name that are not UTF-8 are shown as `printable` does. The vectors of an .npz are not packed, so that they
are read where they lie, whatever their number.
"""

import contextlib
import shutil
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_vit.prediction import output_file
from keras_vit.prediction.many import printable
from keras_vit.prediction.output_file import ROW_GROUP
from keras_vit.system.files import atomic_file, scratch_folder
from keras_vit.weights import readers
from keras_vit.weights.entries import Archive, damaged, max_unpacked, reading, refused

MAX_NAMES = 2**31  # bytes of all names of an .npz, as NumPy holds them
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip's member: signature, ..., lengths of name and extra field


@dataclass(frozen=True)
class Embeddings:
    """Vectors of images, by name."""

    names: tuple[str, ...]  # N of them, as the images were given
    vectors: np.ndarray  # float32 (N, D)
    model: str = ""  # what made them, as it was given
    normalized: bool = False  # whether their lengths are 1


def check_embeddings_file(path):
    """What would otherwise fail after the work is done, as `output_file.check` raises it."""
    output_file.check(path, WRITERS, "Embeddings")


@contextlib.contextmanager
def embeddings_file(path, dim, model="", normalized=False):
    """Yield the function that adds a row: (name, vector (D,)).

    The file appears when all rows are there; an error or an interrupt leaves none, and an older one as it was.

    Args:
        path: of an .npz or .parquet file.
        dim: D.
        model, normalized: as `Embeddings` has them.
    """
    check_embeddings_file(path)
    with atomic_file(path) as temporary:
        with WRITERS[Path(path).suffix.lower()](temporary, dim, str(model), bool(normalized)) as write:
            yield lambda name, vector: write(printable(name), np.asarray(vector, "<f4").reshape(dim))


def save_embeddings(path, embeddings):
    """Write `Embeddings` to an .npz or .parquet file."""
    dim = embeddings.vectors.shape[1]
    with embeddings_file(path, dim, embeddings.model, embeddings.normalized) as write:
        for name, vector in zip(embeddings.names, embeddings.vectors, strict=True):
            write(name, vector)


def load_embeddings(path):
    """Read `Embeddings` from a file that `keras-vit embed` or `save_embeddings` wrote.

    The vectors of an .npz stay on the disk, and are read where they are used.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another file, or one that contradicts itself.
    """
    check_embeddings_file(path)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Expected a file of embeddings, as `keras-vit embed` writes.")
    with reading(path, "a file of embeddings"):
        found = (_read_npz if path.suffix.lower() == ".npz" else _read_parquet)(path)
    shape = found.vectors.shape
    if found.vectors.ndim != 2 or len(found.names) != shape[0] or not shape[1]:
        raise damaged(path, f"vectors of the {len(found.names)} names, (N, D)", f"shape {shape}")
    return found


# ---------------------------------------------------------------------------------------------- npz


@contextlib.contextmanager
def _npz(file, dim, model, normalized):
    names = []
    with scratch_folder() as folder:
        with open(folder / "vectors", "wb") as raw:

            def write(name, vector):
                raw.write(vector.tobytes())
                names.append(name)

            yield write
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as members:
            with members.open("vectors.npy", "w", force_zip64=True) as member, open(folder / "vectors", "rb") as raw:
                header = {"descr": "<f4", "fortran_order": False, "shape": (len(names), dim)}
                np.lib.format.write_array_header_1_0(member, header)
                shutil.copyfileobj(raw, member, 2**20)
            for name, value in {"names": names or np.zeros(0, "<U1"), "model": model, "normalized": normalized}.items():
                with members.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)


def _read_npz(path):
    archive = Archive(path)
    expected = ("names.npy", "vectors.npy")
    if any(member not in archive.members for member in expected):
        raise damaged(path, "the arrays names and vectors", f"{[name[:40] for name in archive.members][:5]}")
    if archive.size("names.npy") > MAX_NAMES:
        raise refused(path, f"its names have {archive.size('names.npy'):,} bytes; the limit is {MAX_NAMES:,}")
    entries = readers.read(path)
    names, model, normalized = (entries[key] if key in entries else None for key in ("names", "model", "normalized"))
    if names.dtype.kind != "U" or names.ndim != 1:
        raise damaged(path, "names of text (N,)", f"{names.dtype} of shape {names.shape}")
    vectors = _mapped(archive, "vectors.npy")
    vectors = entries["vectors"] if vectors is None else vectors
    if vectors.dtype.kind != "f":
        raise damaged(path, "vectors of floats", f"{vectors.dtype}")
    return Embeddings(tuple(names.tolist()), vectors, _text(model), normalized is not None and bool(normalized))


def _text(array):
    return str(array) if array is not None and array.dtype.kind == "U" and array.ndim == 0 else ""


def _mapped(archive, name):
    """An array where it lies in the file; None if it is packed, or not of float32 by rows.

    That its numbers are all there, `readers.read` has seen.
    """
    member = archive.members[name]
    if member.compress_type != zipfile.ZIP_STORED:
        return None
    with open(archive.path, "rb") as file:
        file.seek(member.header_offset)
        _, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        file.seek(sum(lengths), 1)
        if np.lib.format.read_magic(file) != (1, 0):
            return None
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        if by_columns or dtype != np.dtype("<f4") or 0 in shape:
            return None
        return np.memmap(archive.path, dtype, "r", file.tell(), shape)


# ------------------------------------------------------------------------------------------ parquet


@contextlib.contextmanager
def _parquet(file, dim, model, normalized):
    pa = output_file.import_pyarrow(WRITERS)
    fields = [("name", pa.string()), ("vector", pa.list_(pa.float32(), dim))]
    schema = pa.schema(fields, {"model": model.encode("utf-8", "backslashreplace"), "normalized": str(int(normalized))})
    names, vectors = [], []
    with pa.parquet.ParquetWriter(str(file), schema) as writer:

        def flush():
            flat = pa.array(np.concatenate(vectors) if vectors else np.zeros(0, "<f4"))
            columns = [pa.array(names, pa.string()), pa.FixedSizeListArray.from_arrays(flat, dim)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            names.clear()
            vectors.clear()

        def write(name, vector):
            names.append(name)
            vectors.append(vector)
            if len(names) == ROW_GROUP:
                flush()

        yield write
        if names:
            flush()


def _read_parquet(path):
    pa = output_file.import_pyarrow(WRITERS)
    with pa.parquet.ParquetFile(path) as file:
        schema, held = file.schema_arrow, path.stat().st_size
        if not {"name", "vector"} <= set(schema.names) or not pa.types.is_string(schema.field("name").type):
            raise damaged(path, "the columns name (string) and vector", f"{schema.names[:8]}")
        kind = schema.field("vector").type
        if not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type):
            raise damaged(path, "vectors as lists of a fixed number of floats", f"{kind}")
        size = file.metadata.num_rows * kind.list_size * kind.value_type.bit_width // 8
        sizes = [file.metadata.row_group(number).total_byte_size for number in range(file.metadata.num_row_groups)]
        if max(size, sum(sizes)) > max_unpacked(held):
            raise refused(path, f"its {held:,} bytes unpack to {max(size, sum(sizes)):,} (MAX_UNPACKED_RATIO)")
        table = file.read(["name", "vector"])
    column, notes = table.column("vector"), schema.metadata or {}
    if table.column("name").null_count or column.null_count:
        raise damaged(path, "a name and a vector in every row", "rows without")
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    vectors = np.concatenate(chunks or [np.zeros(0)]).astype("float32", copy=False).reshape(-1, kind.list_size)
    model = notes.get(b"model", b"").decode("utf-8", "replace")
    return Embeddings(tuple(table.column("name").to_pylist()), vectors, model, notes.get(b"normalized") == b"1")


WRITERS = {".npz": _npz, ".parquet": _parquet}
