"""Files of embeddings: what is written is read, by others too; what is damaged or too large is refused."""

import io
import pathlib
import zipfile

import numpy as np
import pytest

from keras_vit.prediction import embeddings_file
from keras_vit.prediction.embeddings_file import Embeddings, load_embeddings, save_embeddings

NAMES = ("album/Å 1.jpg", "b.png", "album/c, d.jpg")
VECTORS = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
SUFFIXES = (".npz", ".parquet")


def written(folder, suffix, count=3, **details):
    path = folder / f"found{suffix}"
    save_embeddings(path, Embeddings(NAMES[:count], VECTORS[:count], **details))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_round_trip(tmp_path, suffix):
    found = load_embeddings(written(tmp_path, suffix, model="hf://a/b@é", normalized=True))
    assert (found.names, found.model, found.normalized) == (NAMES, "hf://a/b@é", True)
    np.testing.assert_array_equal(found.vectors, VECTORS)
    assert found.vectors.dtype == np.float32
    assert not load_embeddings(written(tmp_path, suffix)).normalized


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_image_at_all(tmp_path, suffix):
    found = load_embeddings(written(tmp_path, suffix, count=0))
    assert found.names == () and found.vectors.shape == (0, 5)


def test_numpy_reads_it_and_vectors_stay_on_the_disk(tmp_path):
    path = written(tmp_path, ".npz", model="SwinT")
    with np.load(path) as arrays:
        assert arrays["names"].tolist() == list(NAMES) and str(arrays["model"]) == "SwinT"
        np.testing.assert_array_equal(arrays["vectors"], VECTORS)
    assert isinstance(load_embeddings(path).vectors, np.memmap)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("vectors", [VECTORS, VECTORS.astype("float64"), np.asfortranarray(VECTORS)])
def test_what_numpy_saves_is_read(tmp_path, save, vectors):
    save(tmp_path / "x.npz", names=np.array(NAMES), vectors=vectors)
    found = load_embeddings(tmp_path / "x.npz")
    assert found.names == NAMES and found.model == ""
    np.testing.assert_array_equal(found.vectors, VECTORS)


def test_pyarrow_reads_a_parquet_in_row_groups(tmp_path, monkeypatch):
    import pyarrow.parquet

    monkeypatch.setattr(embeddings_file, "ROW_GROUP", 2)
    path = written(tmp_path, ".parquet")
    table = pyarrow.parquet.read_table(path)
    assert table.column("name").to_pylist() == list(NAMES)
    np.testing.assert_array_equal(np.array(table.column("vector").to_pylist(), "float32"), VECTORS)
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 2
    np.testing.assert_array_equal(load_embeddings(path).vectors, VECTORS)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupt_leaves_no_file(tmp_path, suffix):
    with pytest.raises(KeyboardInterrupt):
        with embeddings_file.embeddings_file(tmp_path / f"x{suffix}", 5) as write:
            write("a", VECTORS[0])
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_are_not_utf8(tmp_path, suffix):
    with embeddings_file.embeddings_file(tmp_path / f"x{suffix}", 5) as write:
        write(pathlib.Path("\udcff.jpg"), VECTORS[0])
    assert load_embeddings(tmp_path / f"x{suffix}").names == ("\\udcff.jpg",)


def test_other_suffixes_folders_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"end in \.npz or \.parquet"):
        load_embeddings("x.csv")
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(IsADirectoryError):
        load_embeddings(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError, match="keras-vit embed"):
        load_embeddings(tmp_path / "y.npz")


def npy(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    return stream.getvalue()


def header(shape, descr="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


NAMED = npy(np.array(NAMES))
HOSTILE = {
    "objects": {"names.npy": npy(np.array(NAMES, object)), "vectors.npy": npy(VECTORS)},
    "vectors of objects": {"names.npy": NAMED, "vectors.npy": npy(np.array([[None]]))},
    "vectors of text": {"names.npy": NAMED, "vectors.npy": npy(np.array([["a"]] * 3))},
    "fewer names": {"names.npy": npy(np.array(NAMES[:2])), "vectors.npy": npy(VECTORS)},
    "names of numbers": {"names.npy": npy(np.arange(3)), "vectors.npy": npy(VECTORS)},
    "a vector that is too long": {"names.npy": NAMED, "vectors.npy": header((3, 10**12)) + b"1234"},
    "no vectors": {"names.npy": NAMED},
    "vectors of no length": {"names.npy": NAMED, "vectors.npy": npy(np.zeros((3, 0), "float32"))},
    "one axis": {"names.npy": NAMED, "vectors.npy": npy(np.zeros(3, "float32"))},
    "no header": {"names.npy": NAMED, "vectors.npy": b"\x93NUMPY\x01\x00\xff\xff{"},
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_npz_is_named_and_refused(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="x.npz"):
        load_embeddings(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_that_unpack_to_too_many_are_refused(tmp_path, monkeypatch, suffix):
    import pyarrow as pa
    import pyarrow.parquet

    monkeypatch.setattr("keras_vit.weights.entries.MAX_UNPACKED", 2**16)
    zeros, path = np.zeros((2**12, 64), "float32"), tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, names=np.array(NAMES), vectors=zeros)
    else:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(zeros.ravel()), 64)
        pyarrow.parquet.write_table(pa.table({"name": pa.array(["a"] * len(zeros)), "vector": vectors}), path)
    with pytest.raises(ValueError, match=f"x{suffix}.*unpack to.*MAX_UNPACKED"):
        load_embeddings(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_cut_of_a_file_is_refused(tmp_path, suffix):
    content = written(tmp_path, suffix).read_bytes()
    for end in range(0, len(content), 97):
        (tmp_path / f"cut{suffix}").write_bytes(content[:end])
        with pytest.raises(ValueError, match="cut"):
            load_embeddings(tmp_path / f"cut{suffix}")


def test_parquet_of_other_columns_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    path, names = tmp_path / "x.parquet", pa.array(NAMES)
    fixed = pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 5))
    gaps = pa.array([None, *VECTORS[1:].tolist()], pa.list_(pa.float32(), 5))
    other = [{"name": names}, {"name": names, "vector": pa.array(VECTORS.tolist())}, {"name": pa.array([1, 2, 3])}]
    for columns in (*other, {"name": pa.array([1, 2, 3]), "vector": fixed}, {"name": names, "vector": gaps}):
        pyarrow.parquet.write_table(pa.table(columns), path)
        with pytest.raises(ValueError, match="x.parquet"):
            load_embeddings(path)
