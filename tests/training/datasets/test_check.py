import io

import numpy as np
import pytest
from PIL import Image

from keras_vit.training.datasets import check, folders, shards
from tests.training.toy import write_folder


def encoded(format, mode="RGB", seed=0, **options):
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, channels), "uint8")
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(), mode if mode in ("L", "CMYK") else None).save(file, format, **options)
    return file.getvalue()


def of(folder, **options):
    """{problem: {path: detail}}."""
    report = check.check(folder, **options)
    found = {}
    for problem, path, detail in report.findings:
        found.setdefault(problem, {})[path] = detail
    return found


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "d", per_class=3)


def test_a_valid_folder_has_no_findings(folder):
    report = check.check(folder)
    assert (report.files, report.classes, report.splits, report.findings) == (9, 3, ("all",), ())
    assert not report.serious


def test_every_problem_of_a_file_is_found(folder):
    jpeg = encoded("JPEG")
    palette = io.BytesIO()
    Image.open(io.BytesIO(encoded("PNG", seed=3))).quantize(8).save(palette, "PNG")
    files = {
        "garbage.png": b"no image",
        "empty.jpg": b"",
        "cut.jpg": jpeg[:-200],
        "cut.png": encoded("PNG")[:300],
        "webp.jpg": encoded("WEBP"),
        "named.png": jpeg,
        "again.jpeg": jpeg,
        "grey.jpg": encoded("JPEG", "L"),
        "cmyk.jpg": encoded("JPEG", "CMYK"),
        "alpha.png": encoded("PNG", "RGBA"),
        "palette.png": palette.getvalue(),
        "notes.txt": b"x",
        "scan.tif": encoded("TIFF"),
        ".hidden": b"x",
        "good.bmp": encoded("BMP"),
    }
    for name, content in files.items():
        (folder / "red" / name).write_bytes(content)
    (folder / "red" / "16.png").write_bytes(_sixteen_bits())
    found = of(folder)
    assert found == {
        "unreadable": {
            "red/empty.jpg": "empty",
            "red/garbage.png": "no image, or only the beginning of one",
            "red/webp.jpg": "WEBP, which TensorFlow does not decode; save it as JPEG or PNG",
        },
        "truncated": found["truncated"],
        "ignored": {"red/notes.txt": ".txt", "red/scan.tif": ".tif"},
        "wrong extension": {"red/named.png": "is JPEG"},
        "not RGB": {
            "red/16.png": "16 bits",
            "red/alpha.png": "RGBA",
            "red/cmyk.jpg": "CMYK",
            "red/grey.jpg": "grey",
            "red/palette.png": "palette",
        },
        "duplicate": {"red/named.png": "as red/again.jpeg"},
    }
    assert set(found["truncated"]) == {"red/cut.jpg", "red/cut.png"}
    assert all("truncated" in detail for detail in found["truncated"].values())


def _sixteen_bits():
    file = io.BytesIO()
    Image.fromarray(np.arange(1200, dtype="uint16").reshape(40, 30) * 50).save(file, "PNG")
    return file.getvalue()


def test_several_processes_find_the_same_as_one(folder):
    (folder / "red" / "cut.jpg").write_bytes(encoded("JPEG")[:-200])
    (folder / "blue" / "twice.png").write_bytes((folder / "red" / "00.png").read_bytes())
    calls = []
    report = check.check(folder, workers=2, progress=lambda *counts: calls.append(counts))
    assert report == check.check(folder, workers=1)
    assert [finding.problem for finding in report.findings] == ["truncated", "duplicate"]
    assert calls == [(i + 1, 11) for i in range(11)]


def test_differing_and_empty_class_folders_are_found(tmp_path):
    write_folder(tmp_path / "train", 2), write_folder(tmp_path / "val", 1, ("blue", "green"), seed=1)
    (tmp_path / "val" / "yellow").mkdir()
    (tmp_path / "val" / "yellow" / "readme.txt").write_text("x")
    report = check.check(tmp_path)
    assert report.splits == ("train", "val") and report.serious
    assert of(tmp_path) == {
        "differing classes": {"train/red": "not in val", "val/yellow": "not in train"},
        "empty class": {"val/yellow": "no image"},
        "ignored": {"val/yellow/readme.txt": ".txt"},
    }


def test_the_files_of_a_manifest_are_checked(tmp_path, folder):
    (folder / "red" / "cut.jpg").write_bytes(encoded("JPEG")[:-200])
    (folder / "blue" / "image").write_bytes(encoded("PNG"))
    rows = ["d/red/00.png,red", "d/red/cut.jpg,red", "d/blue/none.png,blue", "d/blue/image,blue"]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows]))
    report = check.check(tmp_path / "m.csv")
    assert (report.files, report.classes, report.splits) == (4, 2, ("all",))
    assert {(finding.problem, finding.path) for finding in report.findings} == {
        ("truncated", "d/red/cut.jpg"),
        ("unreadable", "d/blue/none.png"),
        ("wrong extension", "d/blue/image"),
    }


def test_damaged_and_missing_shards_are_found(tmp_path, folder):
    shards.write(folders.load(folder), tmp_path / "s", 2)
    report = check.check(tmp_path / "s")
    assert (report.files, report.classes, report.findings, report.serious) == (7, 3, (), False)
    path = tmp_path / "s" / "train-00000-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    (tmp_path / "s" / "val-00000-of-00001.tfrecord").unlink()
    report = check.check(tmp_path / "s")
    assert report.serious and report.findings == (
        ("damaged", "train-00000-of-00002.tfrecord", "another sha256"),
        ("damaged", "val-00000-of-00001.tfrecord", "no such file"),
    )


def test_an_image_in_two_splits_is_a_duplicate(tmp_path):
    write_folder(tmp_path / "train", 2), write_folder(tmp_path / "val", 1, seed=1)
    (tmp_path / "val" / "red" / "x.png").write_bytes((tmp_path / "train" / "red" / "00.png").read_bytes())
    report = check.check(tmp_path)
    assert report.findings == (("duplicate", "val/red/x.png", "as train/red/00.png"),) and not report.serious


def test_the_extensions_are_those_that_training_reads():
    assert {suffix for suffixes in check.EXTENSIONS.values() for suffix in suffixes} == set(folders.IMAGE_SUFFIXES)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="data_dir is not a folder"):
        check.check(tmp_path / "none")
