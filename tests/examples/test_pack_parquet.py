import pyarrow.parquet as pq

from examples import pack_parquet


def test_every_image_is_packed_once_with_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_parquet, "GROUP", 2)
    contents = {f"{name}/{number}.png": bytes([number]) * number for name in "ab" for number in range(4)}
    for name, content in contents.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert pack_parquet.pack(tmp_path / "photos", tmp_path / "packed", 3) == 8
    files = sorted((tmp_path / "packed").iterdir())
    assert [file.name for file in files] == [f"part-{number:05}.parquet" for number in range(3)]
    assert [pq.ParquetFile(file).metadata.num_rows for file in files] == [3, 3, 2]
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert [(row["path"], row["image"]) for row in rows] == sorted(contents.items())
