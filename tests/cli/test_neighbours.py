"""`keras-vit neighbours` prints and writes the nearest images, by name, file and image, and starts without Keras."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_vit.cli import main as command
from keras_vit.prediction.embedding import Embedder
from keras_vit.prediction.embeddings_file import Embeddings, load_embeddings, save_embeddings
from tests import toy_artifacts as toy

NAMES = ("a.png", "b, c.png", "d.png", "e.png")
VECTORS = np.array([[1, 0], [0.8, 0.6], [0, 2], [0.1, 1]], "float32")


@pytest.fixture
def file(tmp_path):
    save_embeddings(tmp_path / "x.npz", Embeddings(NAMES, VECTORS, "runs/photos"))
    return tmp_path / "x.npz"


def neighbours(*arguments):
    return command.main(["neighbours", *map(str, arguments)])


def test_all_images_are_compared_with_all_others(file, capsys):
    assert neighbours(file, "--top", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["a.png", "     0.8000  b, c.png", "     0.0995  e.png"]
    assert [line for line in lines if not line.startswith(" ")] == list(NAMES)


def test_names_of_the_file_and_the_metric(file, capsys):
    assert neighbours(file, "--query", "d.png", "--metric", "euclidean", "--top", 9) == 0
    assert capsys.readouterr().out.splitlines() == [
        "d.png",
        "     1.0050  e.png",
        "     1.6125  b, c.png",
        "     2.2361  a.png",
    ]


def test_tables(file, tmp_path, capsys):
    for suffix in (".csv", ".jsonl", ".parquet"):
        assert neighbours(file, "--top", 2, "--output", tmp_path / f"found{suffix}") == 0
    with open(tmp_path / "found.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["path", "neighbour_1", "score_1", "neighbour_2", "score_2"] and len(rows) == 5
    assert rows[1][:4:2] == ["a.png", "0.8"] and rows[1][1] == "b, c.png"
    first = json.loads((tmp_path / "found.jsonl").read_text().splitlines()[0])
    assert first["path"] == "a.png" and first["neighbours"] == ["b, c.png", "e.png"] and first["scores"][0] == 0.8
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "found.parquet").to_pylist()[0]["neighbours"] == first["neighbours"]
    assert "4 images: " in capsys.readouterr().out


def test_another_file_of_embeddings(file, tmp_path, capsys):
    save_embeddings(tmp_path / "q.parquet", Embeddings(("new",), np.array([[0, 1]], "float32")))
    assert neighbours(file, "--query", tmp_path / "q.parquet", "--top", 1) == 0
    assert capsys.readouterr().out == "new\n     1.0000  d.png\n"
    save_embeddings(tmp_path / "q.npz", Embeddings(("new",), np.zeros((1, 3), "float32"), "SwinT"))
    assert neighbours(file, "--query", tmp_path / "q.npz") == 1
    assert "3 numbers (of SwinT)" in capsys.readouterr().err


def test_images_are_embedded_by_the_model(tmp_path, capsys):
    run, names = toy.write_run(tmp_path / "colours"), [str(tmp_path / f"{n}.png") for n in range(4)]
    for name, pixels in zip(names, toy.random_images()):
        Image.fromarray(pixels).save(name)
    save_embeddings(
        tmp_path / "x.npz", Embeddings(tuple(names[:3]), Embedder.open(run).embed(names[:3], normalize=True))
    )
    (tmp_path / "bad.png").write_bytes(b"x")
    query = ["--query", names[1], names[3], tmp_path / "bad.png", "--metric", "euclidean", "--top", 1]
    assert neighbours(tmp_path / "x.npz", *query, "--model", run) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[::2] == [names[1], names[3]] and f"skipped {tmp_path / 'bad.png'}" in printed.err
    assert neighbours(tmp_path / "x.npz", "--query", names[3]) == 1
    assert "Add --model with the model that made the embeddings" in capsys.readouterr().err


def test_a_query_that_is_nothing_offers_the_closest(file, capsys):
    assert neighbours(file, "--query", "a.pgn") == 1
    assert "has no 'a.pgn', nor is it an image file. Closest: a.png" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, said", [(["--top", "0"], "--top must be"), (["--output", "x.txt"], ".csv")])
def test_wrong_options(file, arguments, said, capsys):
    assert neighbours(file, *arguments) == 1
    assert said in capsys.readouterr().err


def test_a_model_of_other_vectors_is_refused(file, tmp_path, capsys):
    run = toy.write_run(tmp_path / "colours")
    Image.fromarray(toy.random_images()[0]).save(tmp_path / "new.png")
    assert neighbours(file, "--query", tmp_path / "new.png", "--model", run) == 1
    assert "gives vectors of 3 numbers" in capsys.readouterr().err


def test_neither_keras_nor_tensorflow_is_imported_where_no_image_is_embedded(file):
    code = (
        f"import sys; from keras_vit.cli.main import main; status = main(['neighbours', {str(file)!r}])\n"
        "print(status, {'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"
    assert load_embeddings(file).names == NAMES
