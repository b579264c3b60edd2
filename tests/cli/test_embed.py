"""`keras-vit embed` writes a row per image, lists what it cannot read, and refuses early."""

import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from keras_vit.cli import main as command
from keras_vit.prediction.embedding import Embedder
from keras_vit.prediction.embeddings_file import load_embeddings
from tests import toy_artifacts as toy


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy.write_run(tmp_path_factory.mktemp("run") / "colours")


@pytest.fixture
def album(tmp_path):
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    for number, pixels in enumerate(toy.random_images()):
        Image.fromarray(pixels).save(folder / ("deep" if number % 2 else "") / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def embed(*arguments):
    return command.main(["embed", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_vectors_of_a_folder(run, album, tmp_path, capsys, suffix):
    output = tmp_path / f"found{suffix}"
    assert embed(run, album, "--output", output, "--batch-size", 3) == 0
    found = load_embeddings(output)
    assert sorted(found.names) == sorted(map(str, album.rglob("*.png"))) and found.model == str(run)
    np.testing.assert_allclose(found.vectors, Embedder.open(run).embed(found.names), atol=1e-6)
    printed = capsys.readouterr()
    assert "4 of 4 images, 3 numbers each" in printed.out and "left out 1 file (.txt is no image)" in printed.err


def test_normalized_vectors_say_so(run, album, tmp_path):
    assert embed(run, album / "0.png", "--output", tmp_path / "x.npz", "--normalize") == 0
    found = load_embeddings(tmp_path / "x.npz")
    assert found.normalized and abs(np.linalg.norm(found.vectors[0]) - 1) < 1e-6


def test_a_list_on_standard_input_and_files_that_cannot_be_read(run, album, tmp_path, capsys, monkeypatch):
    (album / "bad.png").write_bytes(b"no image")
    names = [album / "0.png", album / "bad.png", album / "gone.png", album / "2.png"]
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO("\n".join(map(str, names)).encode())))
    assert embed(run, "-", "--output", tmp_path / "x.npz") == 1
    assert load_embeddings(tmp_path / "x.npz").names == (str(names[0]), str(names[3]))
    printed = capsys.readouterr()
    assert "2 of 4 images" in printed.out
    assert [line.split(": skipped ")[1].split(":")[0] for line in printed.err.splitlines() if "skipped" in line] == [
        str(names[1]),
        str(names[2]),
    ]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--output", "x.csv"], "end in .npz or .parquet"),
        (["--output", "x.npz", "--batch-size", "0"], "--batch-size must be at least 1"),
    ],
)
def test_what_would_fail_later_fails_before_the_model_is_opened(arguments, said, album, capsys, monkeypatch):
    monkeypatch.setattr("keras_vit.prediction.embedding.Embedder.open", None)
    assert embed("nothing", album, *arguments) == 1
    assert said in capsys.readouterr().err


def test_an_error_leaves_the_older_file(run, album, tmp_path, monkeypatch, capsys):
    assert embed(run, album / "0.png", "--output", tmp_path / "x.npz") == 0
    monkeypatch.setattr(Embedder, "run", lambda self, images: np.full((len(images), 3), np.nan))
    assert embed(run, album / "2.png", "--output", tmp_path / "x.npz") == 1
    assert "2.png is not finite" in capsys.readouterr().err
    assert load_embeddings(tmp_path / "x.npz").names == (str(album / "0.png"),)
