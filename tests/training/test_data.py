from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

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
    assert_equal(*map(arrays, streams))


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own(part):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    batches = list(data.training_batches(prepared, recipe(**STILL), 3))
    steps = len(part) // 3
    epochs = [keys(batches[:steps]), keys(batches[steps:])]
    assert len(batches) == 2 * steps
    assert sorted(epochs[0]) == sorted(epochs[1]) and epochs[0] != epochs[1]
    assert len(set(epochs[0])) == len(part) - len(part) % 3


def test_a_later_start_continues_the_same_stream(part):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    whole = arrays(data.training_batches(prepared, recipe(epochs=3), 4))
    assert len(whole) == 15
    for start in (0, 1, 4, 5, 13, 15):
        assert_equal(whole[start:], arrays(data.training_batches(prepared, recipe(epochs=3), 4, start)))


@pytest.mark.parametrize(
    "cache_bytes, color_jitter, workers, replicas, accumulated",
    [
        (0, 0.3, 2, 2, 2),
        *(pytest.param(2**20, 0.0, *one, marks=pytest.mark.slow) for one in ((1, 2, 1), (2, 1, 1), (1, 1, 4))),
    ],
)
def test_however_it_is_divided_a_step_sees_the_same_batch(
    part, cache_bytes, color_jitter, workers, replicas, accumulated
):
    augmented = {"mixup": 0.8, "cutmix": 1.0, "reprob": 0.5, "color_jitter": color_jitter}
    prepared = data.prepare(part, SPEC, cache_bytes=cache_bytes)
    whole = arrays(data.training_batches(prepared, recipe(**augmented), 16))
    divided = recipe(grad_accum_steps=accumulated, **augmented)
    streams = [
        arrays(data.training_batches(prepared, divided, 16, 1, data.Worker(w, workers, replicas)))
        for w in range(workers)
    ]
    parts = replicas * accumulated
    for step, expected in enumerate(whole[1:]):
        shares = [share for stream in streams for share in stream[step * parts : (step + 1) * parts]]
        assert {len(share[0]) for share in shares} == {16 // workers // parts}
        assert_equal([expected], [[np.concatenate(values) for values in zip(*shares)]])


def test_repeated_augmentation_takes_copies_that_stand_apart(part):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    still = arrays(data.training_batches(prepared, recipe(aug_repeats=3, **STILL), 12))
    assert len(still) == 2 * (len(part) // 12)
    for images, labels, _, _ in still:
        copies = images.reshape(3, 4, -1)
        np.testing.assert_array_equal(copies[0], copies[1]), np.testing.assert_array_equal(copies[0], copies[2])
        assert len({picture.tobytes() for picture in images}) == 4
    moved = arrays(data.training_batches(prepared, recipe(aug_repeats=3), 12))
    assert all(len({picture.tobytes() for picture in images}) > 4 for images, *_ in moved)


@pytest.mark.parametrize(
    "changes, batch_size, workers, message",
    [
        ({}, 22, 1, "21 training pictures do not fill a batch of 22"),
        ({}, 9, 2, "batch_size=9 cannot be divided among 2 workers x 1 replicas x grad_accum_steps=1.*multiple of 2"),
        ({"grad_accum_steps": 3}, 8, 1, "grad_accum_steps=3; give a multiple of 3"),
        ({"mixup": 0.8}, 6, 2, "takes 3 at a time, an odd number; give batch_size=8, or another multiple of 4"),
        ({"cutmix": 1.0, "aug_repeats": 2}, 2, 1, "a single picture"),
    ],
)
def test_batches_that_cannot_be_made(part, changes, batch_size, workers, message):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    with pytest.raises(ValueError, match=message):
        data.training_batches(prepared, recipe(**changes), batch_size, worker=data.Worker(0, workers, 1))


@pytest.mark.parametrize("workers, replicas", [(1, 2), (2, 1), (3, 2)])
def test_workers_and_replicas_judge_every_picture_once(part, workers, replicas):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    (whole,) = arrays(data.evaluation_batches(prepared, 24))
    streams = [arrays(data.evaluation_batches(prepared, 12, data.Worker(w, workers, replicas))) for w in range(workers)]
    assert {len(stream) for stream in streams} == {2 * replicas}
    steps = [stream[s * replicas : (s + 1) * replicas] for s in range(2) for stream in streams]
    shares = [share for step in steps for share in step]
    assert_equal([whole], [[np.concatenate(values) for values in zip(*shares)]])


def test_the_seed_gives_another_order(part):
    prepared = data.prepare(part, SPEC, cache_bytes=2**20)
    one, other = (keys(data.training_batches(prepared, recipe(seed=s, **STILL), 4)) for s in (0, 1))
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


def break_two(part):
    names = part.names[3], part.names[7]
    Path(names[0]).write_bytes(Path(names[0]).read_bytes()[:60])
    Path(names[1]).unlink()
    return names


def test_a_bad_picture_is_named_and_weighs_nothing(part):
    broken = break_two(part)
    cached = data.prepare(part, SPEC, max_bad_fraction=0.1, cache_bytes=2**20)
    anew = data.prepare(part, SPEC, max_bad_fraction=0.1)
    assert [name for name, _ in cached.bad] == list(broken) and anew.bad == ()
    streams = [arrays(data.evaluation_batches(prepared, 4)) for prepared in (cached, anew)]
    assert_equal(*streams)
    weights = np.concatenate([batch[2] for batch in streams[0]])[: len(part)]
    np.testing.assert_array_equal(np.flatnonzero(weights == 0), [3, 7])
    assert sorted(anew.bad) == sorted(cached.bad)
    assert [text in reason for (_, reason), text in zip(cached.bad, ("cannot be read as a picture", "No such file"))]


def test_the_next_picture_is_shown_in_place_of_a_bad_one(part):
    whole = data.prepare(part, SPEC, cache_bytes=2**20)
    pictures = np.concatenate([batch[0] for batch in arrays(data.evaluation_batches(whole, 7))])
    numbers = {picture.tobytes(): number for number, picture in enumerate(pictures)}
    before = [numbers[key] for key in keys(data.training_batches(whole, recipe(**STILL), 7))]
    broken = break_two(part)
    cached = data.prepare(part, SPEC, max_bad_fraction=0.1, cache_bytes=2**20)
    anew = data.prepare(part, SPEC, max_bad_fraction=0.1)
    after = data.training_batches(cached, recipe(**STILL), 7)
    assert [numbers[key] for key in keys(after)] == [{3: 4, 7: 8}.get(number, number) for number in before]
    assert_equal(arrays(after), arrays(data.training_batches(anew, recipe(**STILL), 7)))
    assert cached.replaced[0] == (broken[0], f"{cached.bad[0][1]}; {part.names[4]} takes its place")


def test_a_file_that_breaks_while_training_is_met_and_replaced(part):
    prepared = data.prepare(part, SPEC, max_bad_fraction=0.05)
    batches = iter(data.training_batches(prepared, recipe(epochs=4), 7))
    next(batches)
    assert prepared.bad == ()
    Path(part.names[0]).write_bytes(b"")
    assert len(arrays(batches)) == 11
    assert [name for name, _ in prepared.bad] == [part.names[0]]
    prepared.quarantine.check()
    break_two(part)
    arrays(data.training_batches(prepared, recipe(), 7))
    with pytest.raises(ValueError, match=r"3 of 21 pictures cannot be decoded, more than max_bad_fraction=0.05"):
        prepared.quarantine.check()


def test_without_any_good_picture_the_first_error_is_told(part):
    for name in part.names:
        Path(name).unlink()
    with pytest.raises(tf.errors.NotFoundError, match=r"\.png; No such file"):
        arrays(data.training_batches(data.prepare(part, SPEC), recipe(), 7))


def test_more_corrupt_pictures_than_allowed_are_an_error(part):
    Path(part.names[0]).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1 of 21 pictures .*max_bad_fraction=0.04[\s\S]*00.png"):
        data.prepare(part, SPEC, max_bad_fraction=0.04, cache_bytes=2**20)


def test_a_folder_needs_its_path():
    with pytest.raises(ValueError, match="needs data_dir"):
        data.load(recipe(data_dir=None))


def arrays(batches):
    return [[value.numpy() for value in batch] for batch in batches]


def assert_equal(some, others):
    for batch, other in zip(some, others, strict=True):
        for value, expected in zip(batch, other, strict=True):
            np.testing.assert_array_equal(value, expected)


def keys(batches):
    return [image.tobytes() for images, *_ in batches for image in images.numpy()]
