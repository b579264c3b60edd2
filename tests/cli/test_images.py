"""What `predict` and `embed` are given: manifests, shards, TFDS' data sets, and the parts that --shard names."""

import argparse
import io
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from keras_vit.cli import images
from keras_vit.cli.main import main
from keras_vit.images.stored import StoredImage
from keras_vit.prediction.embeddings_file import load_embeddings
from keras_vit.system import remote
from keras_vit.training.datasets import folders, shards
from tests import toy_artifacts as toy
from tests.stores import breaking, put, store_in_memory


def parse(*given):
    parser = argparse.ArgumentParser()
    images.add_images(parser)
    images.add_shard(parser)
    return parser.parse_args(list(map(str, given)))


def named(*given):
    return list(map(str, images.images_of(parse(*given), "predict")))


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A folder of two classes with six images each, a manifest of it, and its shards."""
    folder = tmp_path_factory.mktemp("album")
    for number in range(12):
        path = folder / f"photos/{'ab'[number % 2]}/{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (20 * number, 250 - 20 * number, 100)).save(path)
    rows = [f"photos/{'ab'[n % 2]}/{n:02d}.png,{n},{('train', 'valid')[n % 3 == 0]}" for n in (5, 3, 0, 1)]
    (folder / "list.csv").write_text("\n".join(["path,weight,split", *rows]))
    data_set = folders.load(folder / "photos")
    shards.write(data_set, folder / "shards", 2, root=folder / "photos")
    return folder


def test_a_manifest_needs_only_paths(album):
    assert named(album / "list.csv") == [f"{album}/photos/{name}.png" for name in ("b/05", "b/03", "a/00", "b/01")]
    assert named(album / "list.csv", "--split", "val") == [f"{album}/photos/{name}.png" for name in ("b/03", "a/00")]


@pytest.mark.parametrize(
    "text, split, message",
    [
        ("file,label\na.png,a", None, "needs the columns path and may have split. It has file,label: there is no path"),
        ("path\na.png", "test", "needs the columns path,split. It has path: there is no split"),
        ("path,split\na.png,train", "test", "names no image of the split test. It has the splits train"),
        ("path,x\n,1", None, "line 2: path must not be empty"),
        ("path\n", None, "names no image"),
    ],
)
def test_a_manifest_that_names_no_images_is_refused(tmp_path, text, split, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        named(tmp_path / "list.csv", *(["--split", split] if split else []))


def test_shards_have_the_images_of_their_folder(album):
    everything = [path.relative_to(album / "photos").as_posix() for path in (album / "photos").rglob("*.png")]
    assert sorted(named(album / "shards")) == sorted(everything)
    found = images.images_of(parse(album / "shards", "--split", "train"), "predict")
    assert len(found) == len(everything) - 2  # a tenth each is of the other splits
    for image in found:
        assert image.read() == (album / "photos" / str(image)).read_bytes()
    with pytest.raises(ValueError, match="has the splits train, val, test. Received: --split extra"):
        named(album / "shards", "--split", "extra")


def test_kinds_are_mixed_in_their_order(album, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x.png\n")))
    found = named("y.png", album / "list.csv", "-", album / "photos/a", album / "shards")
    assert [found[0], found[5]] == ["y.png", "x.png"] and len(found) == 1 + 4 + 1 + 6 + 12


def test_splits_are_only_of_what_has_some(album):
    with pytest.raises(ValueError, match="--split is for .csv files.*Received also: y.png"):
        named(album / "list.csv", "y.png", "--split", "train")


def test_a_folder_with_an_index_of_something_else_is_a_folder(album, tmp_path):
    shutil.copy(album / "photos/a/00.png", tmp_path / "a.png")
    (tmp_path / "index.json").write_text("{}")
    assert named(tmp_path) == [f"{tmp_path}/a.png"]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "3", "1/", "/2", "a/b", "1/2/3", "-1/2", "1/100000"])
def test_a_shard_that_there_is_not_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        parse("x.png", f"--shard={text}")
    assert text in capsys.readouterr().err
    assert parse("x.png", "--shard", "3/16").shard == (3, 16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy.write_run(tmp_path_factory.mktemp("run"))


def test_shards_of_predict_and_of_embed_are_merged(album, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.png").touch()
    shared = [str(run), str(album / "shards"), "bad.png", "--batch-size", "4"]
    for verb, output in (("predict", "found.csv"), ("embed", "found.npz")):
        assert main([verb, *shared, "--output", f"whole{output}"]) == 1
        assert "going on" not in capsys.readouterr().err
        statuses = [main([verb, *shared, "--output", output, "--shard", f"{part}/4"]) for part in (1, 2, 3, 4)]
        printed = capsys.readouterr()
        assert "4 of 4 images: found-00001-of-00004" in printed.out.replace(", 3 numbers each", "")
        assert statuses == [0, 0, 0, 1]
        assert main(["merge", output]) == 1
        printed = capsys.readouterr()
        assert f"12 of 13 images: {output}" in printed.out and "skipped bad.png" in printed.err
        assert (tmp_path / output).read_bytes() == (tmp_path / f"whole{output}").read_bytes()
    names = load_embeddings(tmp_path / "found.npz").names
    assert [line.split(",")[0] for line in (tmp_path / "found.csv").read_text().splitlines()[1:]] == list(names)


def test_an_interrupted_command_goes_on(album, run, tmp_path, monkeypatch, capsys):
    from keras_vit.prediction import predictor

    prepare, left = predictor.Predictor.prepare, iter(range(9))

    def interrupted(self, image):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return prepare(self, image)

    command = ["predict", str(run), str(album / "photos"), "--batch-size", "2", "--output", str(tmp_path / "found.csv")]
    monkeypatch.setattr(predictor.Predictor, "prepare", interrupted)
    assert main(command) == 130
    monkeypatch.setattr(predictor.Predictor, "prepare", prepare)
    assert [path.name for path in tmp_path.iterdir()] == ["found.csv.partial"]
    capsys.readouterr()
    assert main(command) == 0
    assert re.search(r"going on after [2468] images of .*found.csv", capsys.readouterr().err)
    command[-1] = str(tmp_path / "whole.csv")
    assert main(command) == 0
    assert (tmp_path / "found.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.fixture
def stored(album, monkeypatch):
    """The URL of the album's copy in a store."""
    with store_in_memory(monkeypatch):
        yield put(album, "memory://bucket/album")


@pytest.mark.parametrize(
    "what", ["photos", "photos/a", "photos/b/*1.png", "photos/**/0*.png", "list.csv", "shards", "photos/a/00.png"]
)
def test_a_copy_in_a_store_has_the_images_of_the_original_in_their_order(album, stored, what):
    local, found = (images.images_of(parse(f"{place}/{what}"), "predict") for place in (album, stored))
    assert len(found) > 0
    assert [str(one).removeprefix(f"{stored}/") for one in found] == [
        str(one).removeprefix(f"{album}/") for one in local
    ]
    for one, other in zip(found, local):
        content = other.read() if isinstance(other, StoredImage) else Path(other).read_bytes()
        assert one.read() == content


def test_a_list_of_urls_is_not_asked_for_one_by_one(stored, monkeypatch):
    listed = "".join(f"{stored}/photos/a/{n:02d}.png\n" for n in range(0, 12, 2)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed)))
    calls = breaking(monkeypatch, "info", [])
    assert len(named("-")) == 6 and not calls


def test_the_data_cache_keeps_images_and_records(stored, tmp_path, monkeypatch):
    for what in ("photos/a", "list.csv", "shards"):
        given = parse(f"{stored}/{what}", "--data-cache", tmp_path / "cache")
        first = [one.read() for one in images.images_of(given, "predict")]
        again = images.images_of(given, "predict")
        calls = breaking(monkeypatch, "cat_file", [])
        assert [one.read() for one in again] == first and not calls
        monkeypatch.setattr(remote, "PAUSE", 0)


@pytest.mark.parametrize(
    "error, message",
    [
        (OSError("line is down"), "could not be reached: tried 5 times"),
        (PermissionError("ExpiredToken: line is down"), "is refused"),
    ],
)
def test_a_store_that_breaks_ends_the_work_and_the_same_command_goes_on(
    stored, run, tmp_path, monkeypatch, capsys, error, message
):
    command = ["predict", str(run), f"{stored}/photos", "--batch-size", "2", "--output", str(tmp_path / "found.csv")]
    with monkeypatch.context() as broken:
        breaking(broken, "cat_file", [*8 * [None], *30 * [error]])
        assert main(command) == 1
    printed = capsys.readouterr().err
    assert message in printed and "line is down" in printed and "skipped" not in printed
    assert not (tmp_path / "found.csv").exists()
    assert main(command) == 0
    assert "going on after" in capsys.readouterr().err
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 1 + 12


def test_results_at_a_url_are_those_of_the_disk(stored, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_VIT_HOME", str(tmp_path))
    shared = ["predict", str(run), f"{stored}/photos", "--batch-size", "4", "--output"]
    assert main([*shared, str(tmp_path / "found.csv")]) == 0
    assert main([*shared, "memory://bucket/found.csv"]) == 0
    assert "12 of 12 images: memory://bucket/found.csv" in capsys.readouterr().out
    assert remote.read("memory://bucket/found.csv") == (tmp_path / "found.csv").read_bytes()
    for part in ("1/2", "2/2"):
        assert main([*shared, "memory://bucket/parts.csv", "--shard", part]) == 0
    assert main(["merge", "memory://bucket/parts.csv"]) == 0
    assert remote.read("memory://bucket/parts.csv") == (tmp_path / "found.csv").read_bytes()
    assert main(["merge", "memory://bucket/parts.csv"]) == 1
    assert "memory://bucket/parts.csv exists already" in capsys.readouterr().err


def test_a_part_needs_the_name_of_the_whole(run, album, capsys):
    assert main(["predict", str(run), str(album), "--shard", "1/2"]) == 1
    assert "add --output with the name of the whole" in capsys.readouterr().err
