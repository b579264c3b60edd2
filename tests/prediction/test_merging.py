"""Parts become the bytes of one run; those that do not belong together are named, and stay."""

import dataclasses

import pytest

from keras_vit.prediction.merging import merge
from keras_vit.prediction.shards import facts_path, part_path
from tests.prediction.of_numbers import IMAGES, predictions


@pytest.mark.parametrize("shards", [1, 2, 3, 8, 11])
def test_parts_become_the_bytes_of_one_run(predictor, tmp_path, way, shards):
    write, suffix = way
    whole = write(tmp_path / f"whole{suffix}", predictor)
    for number in range(1, shards + 1):
        write(tmp_path / f"found{suffix}", predictor, (number, shards))
    merged = merge(tmp_path / f"found{suffix}")
    assert dataclasses.astuple(merged) == dataclasses.astuple(whole)
    assert (tmp_path / f"found{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


@pytest.fixture
def parts(predictor, tmp_path):
    for number in (1, 2, 3):
        predictions(tmp_path / "found.csv", predictor, (number, 3))
    return [part_path(tmp_path / "found.csv", (number, 3)) for number in (1, 2, 3)]


def of_other_weights(parts, predictor):
    predictor.weights.write_bytes(b"others")
    parts[1].unlink()
    predictions(parts[1].with_name("found.csv"), predictor, (2, 3))


def of_other_images(parts, predictor):
    parts[1].unlink()
    predictions(parts[1].with_name("found.csv"), predictor, (2, 3), images=IMAGES[:-1])


def changed(parts, _):
    parts[2].write_text(parts[2].read_text().replace("29", "92"))


def renamed(parts, _):
    for path in (parts[2], facts_path(parts[2])):
        path.write_bytes((parts[0] if path == parts[2] else facts_path(parts[0])).read_bytes())


def damaged(parts, _):
    facts_path(parts[0]).write_text("[1]")


@pytest.mark.parametrize(
    "harm, message",
    [
        (of_other_weights, "00002-of-00003.csv is no part of the same work as .*: it has another weights. Make it"),
        (of_other_images, "it has another images"),
        (changed, "00003-of-00003.csv is not what .*csv.json describes"),
        (renamed, "00003.csv.json is of the part 1 of 3: the files were renamed"),
        (damaged, "00001-of-00003.csv.json is damaged"),
        (lambda parts, _: parts[1].unlink(), "1 of 3 parts of .*found.csv are missing: found-00002-of-00003.csv"),
        (lambda parts, _: facts_path(parts[1]).unlink(), "00002-of-00003.csv.json is missing.*Copy it too"),
        (lambda parts, _: [part.unlink() for part in parts], "There is no part of .*found-00001-of-00002.csv"),
        (lambda parts, _: parts[0].with_name("found-00001-of-00002.csv").touch(), "has parts of 2 and of 3 shards"),
        (lambda parts, _: parts[0].with_name("found.csv").write_text("mine"), "found.csv exists already"),
    ],
)
def test_parts_that_do_not_belong_together_are_named_and_stay(parts, predictor, tmp_path, harm, message):
    harm(parts, predictor)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises((ValueError, OSError), match=message):
        merge(tmp_path / "found.csv")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
