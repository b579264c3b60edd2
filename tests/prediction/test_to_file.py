"""A file of many answers has the same bytes however often the work was interrupted."""

import dataclasses
import json

import pytest

from keras_vit.prediction.embeddings_file import load_embeddings
from tests.prediction.of_numbers import Stop, embeddings, numbers, predictions


def test_what_is_written(predictor, tmp_path):
    written = predictions(tmp_path / "a.csv", predictor)
    bad = [(str(number), f"{number} is bad") for number in range(3, 30, 7)]
    assert (written.rows, written.images, written.bad) == (26, 30, bad)
    head, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert head == "path,label_1,score_1,label_2,score_2" and len(rows) == 26
    assert rows[5] == "6,a,0.09375,c,0.0625" and rows[-1] == "29,a,0.453125,c,0.03125"
    embeddings(tmp_path / "a.npz", predictor)
    found = load_embeddings(tmp_path / "a.npz")
    assert found.names[5] == "6" and found.vectors[5].tolist() == [6 / 64, 2 / 64, 4 / 64]


def test_interrupted_after_any_batch_and_continued(predictor, tmp_path, way):
    write, suffix = way
    write(tmp_path / f"whole{suffix}", predictor)
    path, seen = tmp_path / f"found{suffix}", []
    for after in (0, 3, 1, 2):
        with pytest.raises(Stop):
            write(path, numbers(predictor.weights, after), on_batch=lambda *done: seen.append(done))
        assert not path.exists()
    write(path, predictor, on_batch=lambda *done: seen.append(done))
    assert path.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert [done for done, _ in seen] == [0, 0, 4, 8, 12, 12, 16, 16, 20, 24, 24, 28, 30]
    assert {total for _, total in seen} == {30} and not list(tmp_path.glob("*.partial"))


def test_other_batches_are_other_work(predictor, tmp_path):
    with pytest.raises(Stop):
        predictions(tmp_path / "a.csv", numbers(predictor.weights, 2))
    with pytest.raises(ValueError, match="another batch size, 4 then and 5 now"):
        predictions(tmp_path / "a.csv", predictor, batch_size=5)
    assert json.loads((tmp_path / "a.csv.partial/request.json").read_text())["batch_size"] == 4


def test_bytes_of_a_path_that_are_not_utf8(predictor, tmp_path):
    image = b"caf\xe9".decode(errors="surrogateescape")
    broken = dataclasses.replace(predictor)
    written = predictions(tmp_path / "a.csv", broken, images=[image])
    assert [name for name, _ in written.bad] == ["caf\\udce9"]
