from pathlib import Path

import numpy as np
import pytest

from keras_vit.preprocessing import Spec, preprocess_input, read_image
from keras_vit.training import data, folders
from tests.training.toy import recipe, write_folder

SPEC = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)
STILL = {"shift": 0.0, "hflip": 0.0}


@pytest.fixture
def part(tmp_path):
    return folders.load(write_folder(tmp_path / "d", per_class=9)).train


def test_the_cache_and_decoding_anew_give_the_same_batches(part):
    cached = data.prepare(part, SPEC, cache_bytes=2**20)
    anew = data.prepare(part, SPEC)
    assert cached.cache is not None and anew.cache is None
    streams = [data.training_batches(p, recipe(), 8) for p in (cached, anew)]
    for one, other in zip(*streams, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own(part):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    batches = list(data.training_batches(prepared, recipe(**STILL), 3))
    steps = len(part) // 3
    epochs = [_keys(batches[:steps]), _keys(batches[steps:])]
    assert len(batches) == 2 * steps
    assert sorted(epochs[0]) == sorted(epochs[1]) and epochs[0] != epochs[1]
    assert len(set(epochs[0])) == len(part) - len(part) % 3


def test_a_later_start_continues_the_same_stream(part):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    whole = list(data.training_batches(prepared, recipe(epochs=3), 4))
    rest = list(data.training_batches(prepared, recipe(epochs=3), 4, start_epoch=2))
    assert len(rest) == len(whole) // 3
    for (a, b), (c, d) in zip(whole[-len(rest) :], rest):
        np.testing.assert_array_equal(a, c), np.testing.assert_array_equal(b, d)


def test_the_seed_gives_another_order(part):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    one, other = (_keys(data.training_batches(prepared, recipe(seed=s, **STILL), 4)) for s in (0, 1))
    assert one != other


@pytest.mark.parametrize("batch_size", [1, 4, 5, 100])
def test_evaluation_weighs_every_picture_once(part, batch_size):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    batches = [[x.numpy() for x in batch] for batch in data.evaluation_batches(prepared, batch_size)]
    assert {images.shape for images, _, _ in batches} == {(batch_size, 8, 8, 3)}
    labels, weights = (np.concatenate([b[i] for b in batches]) for i in (1, 2))
    assert weights.sum() == len(part)
    np.testing.assert_array_equal(labels[weights > 0], part.labels)


def test_pictures_are_prepared_by_the_spec(part):
    prepared = data.prepare(part, SPEC)
    images, _, _ = next(iter(data.evaluation_batches(prepared, 2)))
    expected = preprocess_input(read_image(part.names[0])[None], SPEC)
    np.testing.assert_allclose(images[0], expected[0], atol=1.01 * 2 / 255)


def test_corrupt_pictures_are_named_and_left_out(part):
    broken = [part.names[3], part.names[7]]
    Path(broken[0]).write_bytes(Path(broken[0]).read_bytes()[:60])
    Path(broken[1]).write_bytes(b"")
    prepared = data.prepare(part, SPEC, max_bad_fraction=0.1, cache_bytes=2**20)
    assert [name for name, _ in prepared.bad] == broken
    assert all("cannot be read as a picture" in reason for _, reason in prepared.bad)
    assert len(prepared.part) == len(prepared.cache) == len(part) - 2
    anew = data.prepare(part, SPEC, max_bad_fraction=0.1)
    for one, other in zip(data.evaluation_batches(prepared, 4), data.evaluation_batches(anew, 4)):
        np.testing.assert_array_equal(one[0], other[0])


def test_more_corrupt_pictures_than_allowed_are_an_error(part):
    Path(part.names[0]).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1 of 21 pictures .*max_bad_fraction=0.04[\s\S]*00.png"):
        data.prepare(part, SPEC, max_bad_fraction=0.04)


def test_a_file_that_is_gone_counts_as_bad(part):
    Path(part.names[0]).unlink()
    assert [n for n, _ in data.prepare(part, SPEC, max_bad_fraction=0.1).bad] == [part.names[0]]


def test_a_folder_needs_its_path():
    with pytest.raises(ValueError, match="needs data_dir"):
        data.load(recipe(data_dir=None))


def _keys(batches):
    return [image.tobytes() for images, _ in batches for image in images.numpy()]
