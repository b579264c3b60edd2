import io
import re

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
        },
        "truncated": found["truncated"],
        "ignored": {"red/notes.txt": ".txt is no image"},
        "slow format": {"red/scan.tif": "TIFF"},
        "wrong extension": {"red/named.png": "is JPEG", "red/webp.jpg": "is WEBP"},
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


def test_differing_empty_and_missing_class_folders_are_found(tmp_path):
    write_folder(tmp_path / "train", 2), write_folder(tmp_path / "val", 1, ("blue", "green"), seed=1)
    (tmp_path / "val" / "yellow").mkdir()
    (tmp_path / "val" / "yellow" / "readme.txt").write_text("x")
    report = check.check(tmp_path)
    assert report.splits == ("train", "val") and not report.serious
    expected = {
        "missing class": {"val/red": "no folder", "val/yellow": "no image"},
        "ignored": {"val/yellow/readme.txt": ".txt is no image"},
    }
    assert of(tmp_path) == expected
    assert report.notes == {
        "splits": "train/ is train, val/ is validation, validation is test too",
        "not taken": "1 file (.txt is no image)",
        "few images": "validation has none of 1 of 3 classes: red",
    }
    (tmp_path / "val" / "yellow" / "1.png").write_bytes(encoded("PNG"))
    (tmp_path / "train" / "empty").mkdir()
    expected["missing class"] = {"val/red": "no folder", "val/empty": "no folder"}
    expected |= {"differing classes": {"val/yellow": "not in train"}, "empty class": {"train/empty": "no image"}}
    assert of(tmp_path) == expected and check.check(tmp_path).serious


@pytest.mark.parametrize(
    "names, splits",
    [(("Training", "Testing"), ("train", "test")), (("train", "valid", "test"), ("train", "val", "test"))],
)
def test_splits_are_those_of_training(tmp_path, names, splits):
    for seed, name in enumerate(names):
        write_folder(tmp_path / name, 2, seed=seed)
    report = check.check(tmp_path)
    assert report.splits == splits and report.findings == ()
    assert report.notes == folders.load(tmp_path).notes


@pytest.mark.parametrize(
    "files, message",
    [
        ([f"{name}/1.png" for name in "abcdefghij"], "2 of 10 classes have no image in train"),
        (["a/1.png", "b/1.png"], "2 images are too few"),
        (["val/a/1.png", "val/b/1.png"], "no train/"),
        (["archive/train/a/1.png", "archive/train/b/1.png"], "give .*/archive"),
    ],
)
def test_what_training_refuses_is_refused(tmp_path, files, message):
    for number, file in enumerate(files):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(encoded("PNG", seed=number))
    with pytest.raises(ValueError, match=message):
        folders.load(tmp_path)
    report = check.check(tmp_path)
    assert report.serious and {finding.problem for finding in report.findings} - {"missing class"} == {"refused"}
    assert re.search(message, report.findings[0].detail)


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM", "TGA", "PCX", "ICO", "SGI"]
)
def test_every_format_that_pillow_reads_is_readable_and_slow_ones_are_said(tmp_path, kind):
    suffix = {"JPEG2000": ".jp2", "PPM": ".ppm", "SGI": ".sgi"}.get(kind, f".{kind.lower()}")
    (tmp_path / f"x{suffix}").write_bytes(encoded(kind))
    fast = kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF")
    problems = [problem for problem in check.inspect(str(tmp_path / f"x{suffix}"))[1] if problem[0] != "not RGB"]
    assert problems == ([] if fast else [("slow format", kind)])


def test_a_bitmap_with_a_palette_and_float_pixels(tmp_path):
    Image.open(io.BytesIO(encoded("PNG"))).quantize(8).save(tmp_path / "x.bmp")
    assert check.inspect(str(tmp_path / "x.bmp"))[1] == [("slow format", "BMP"), ("not RGB", "palette")]
    Image.fromarray(np.zeros((4, 4), "float32")).save(tmp_path / "x.tif")
    ((problem, detail),) = check.inspect(str(tmp_path / "x.tif"))[1]
    assert problem == "unreadable" and "32-bit numbers" in detail


def test_a_path_in_the_other_form_of_unicode_is_said(tmp_path):
    (tmp_path / "Cafe\u0301.png").write_bytes(encoded("PNG"))
    ((problem, detail),) = check.inspect(str(tmp_path / "Caf\xe9.png"))[1]
    assert problem == "unreadable" and r"but 'Cafe\u0301.png'" in detail


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


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="data_dir is not a folder"):
        check.check(tmp_path / "none")


def test_the_images_of_every_class_and_split_are_counted(tmp_path):
    write_folder(tmp_path / "d" / "train", 3), write_folder(tmp_path / "d" / "val", 2)
    (tmp_path / "d" / "val" / "red" / "00.png").unlink()
    report = check.check(tmp_path / "d")
    assert report.counts == {"train": {"blue": 3, "green": 3, "red": 3}, "val": {"blue": 2, "green": 2, "red": 1}}


def test_a_file_with_several_labels_is_read_once(tmp_path, folder):
    names = [path.relative_to(tmp_path) for path in sorted(folder.rglob("*.png"))]
    lines = [f"{name},{('a|b', 'b|c', '')[i % 3]}" for i, name in enumerate(names)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    done = []
    report = check.check(tmp_path / "m.csv", progress=lambda *numbers: done.append(numbers))
    assert (report.files, report.classes, report.findings) == (9, 3, ()) and done[-1] == (9, 9)
    assert report.counts == {"all": {"a": 3, "b": 6, "c": 3}}
    assert "labels per image" in report.notes


def test_an_empty_label_among_single_ones_is_an_error(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\n1.png,a\n2.png,\n")
    with pytest.raises(ValueError, match="line 3: path and label must not be empty"):
        check.check(tmp_path / "m.csv")


@pytest.mark.parametrize("kind", ["folder", "manifest", "shards"])
def test_parts_together_find_what_one_run_finds(tmp_path, folder, kind):
    source, files = folder, 9
    if kind == "manifest":
        rows = [f"d/{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
        source = tmp_path / "m.csv"
        source.write_text("\n".join(["path,label", *rows]))
    if kind == "shards":
        source, files = tmp_path / "shards", 6  # with the three splits' indices
        shards.write(folders.load(write_folder(tmp_path / "more", per_class=9)), source, 1)
    for path in sorted(source.glob("*.tfrecord"))[:2] if kind == "shards" else sorted(folder.rglob("*.png"))[:2]:
        path.write_bytes(path.read_bytes()[:-1] + b"x" if kind == "shards" else b"no image")
    whole, parts = check.check(source), [check.check(source, shard=(number, 4)) for number in (1, 2, 3, 4)]
    assert sum(part.files for part in parts) == whole.files == files and len(whole.findings) >= 2
    found = [finding for part in parts for finding in part.findings if finding.problem != "refused"]
    assert sorted(found) == sorted(f for f in whole.findings if f.problem not in ("duplicate", "refused"))
