import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.prediction.preprocess_input import preprocess_input
from keras_vit.preprocessing import Spec, normalize, read_image, resize
from keras_vit.training.datasets import folders
from keras_vit.training.datasets.splits import Split
from keras_vit.training.pipeline.batches import evaluation_batches, prepare, training_batches
from keras_vit.training.pipeline.sampler import Worker
from tests import images_of_all_kinds as kinds
from tests.training.toy import recipe, write_folder

SPEC = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)
STILL = {"shift": 0.0, "hflip": 0.0}


@pytest.fixture
def split(tmp_path):
    return folders.load(write_folder(tmp_path / "d", per_class=9)).train


def test_batches_are_the_same_with_and_without_a_cache(split):
    cached = prepare(split, SPEC, cache_bytes=2**20)
    uncached = prepare(split, SPEC)
    assert cached.cache is not None and uncached.cache is None
    streams = [training_batches(p, recipe(), 8) for p in (cached, uncached)]
    assert_equal(*map(arrays, streams))


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(split):
    prepared = prepare(split, SPEC, cache_bytes=2**20)
    batches = list(training_batches(prepared, recipe(**STILL), 3))
    steps = len(split) // 3
    epochs = [keys(batches[:steps]), keys(batches[steps:])]
    assert len(batches) == 2 * steps
    assert sorted(epochs[0]) == sorted(epochs[1]) and epochs[0] != epochs[1]
    assert len(set(epochs[0])) == len(split) - len(split) % 3


def test_batches_from_a_later_step_are_those_of_the_whole_run(split):
    prepared = prepare(split, SPEC, cache_bytes=2**20)
    whole = arrays(training_batches(prepared, recipe(epochs=3), 4))
    assert len(whole) == 15
    for start in (0, 1, 4, 5, 13, 15):
        assert_equal(whole[start:], arrays(training_batches(prepared, recipe(epochs=3), 4, start)))


@pytest.mark.parametrize(
    "cache_bytes, color_jitter, workers, replicas, accumulated",
    [
        (0, 0.3, 2, 2, 2),
        *(pytest.param(2**20, 0.0, *one, marks=pytest.mark.slow) for one in ((1, 2, 1), (2, 1, 1), (1, 1, 4))),
    ],
)
def test_a_batch_is_the_same_however_it_is_divided(split, cache_bytes, color_jitter, workers, replicas, accumulated):
    augmented = {"mixup": 0.8, "cutmix": 1.0, "reprob": 0.5, "color_jitter": color_jitter}
    prepared = prepare(split, SPEC, cache_bytes=cache_bytes)
    whole = arrays(training_batches(prepared, recipe(**augmented), 16))
    divided = recipe(grad_accum_steps=accumulated, **augmented)
    streams = [arrays(training_batches(prepared, divided, 16, 1, Worker(w, workers, replicas))) for w in range(workers)]
    count = replicas * accumulated
    for step, expected in enumerate(whole[1:]):
        micro_batches = [batch for stream in streams for batch in stream[step * count : (step + 1) * count]]
        assert {len(batch[0]) for batch in micro_batches} == {16 // workers // count}
        assert_equal([expected], [[np.concatenate(values) for values in zip(*micro_batches)]])


def test_repeated_augmentation_spreads_copies_over_the_batch(split):
    prepared = prepare(split, SPEC, cache_bytes=2**20)
    still = arrays(training_batches(prepared, recipe(aug_repeats=3, **STILL), 12))
    assert len(still) == 2 * (len(split) // 12)
    for images, labels, _, _ in still:
        copies = images.reshape(3, 4, -1)
        np.testing.assert_array_equal(copies[0], copies[1]), np.testing.assert_array_equal(copies[0], copies[2])
        assert len({image.tobytes() for image in images}) == 4
    augmented = arrays(training_batches(prepared, recipe(aug_repeats=3), 12))
    assert all(len({image.tobytes() for image in images}) > 4 for images, *_ in augmented)


@pytest.mark.parametrize(
    "changes, batch_size, workers, message",
    [
        ({}, 22, 1, "21 training images do not fill a batch of 22"),
        ({}, 9, 2, "batch_size=9 cannot be divided among 2 workers x 1 replicas x grad_accum_steps=1.*multiple of 2"),
        ({"grad_accum_steps": 3}, 8, 1, "grad_accum_steps=3; give a multiple of 3"),
        ({"mixup": 0.8}, 6, 2, "takes 3 at a time, an odd number; give batch_size=8, or another multiple of 4"),
        ({"cutmix": 1.0, "aug_repeats": 2}, 2, 1, "a single image"),
    ],
)
def test_batches_that_cannot_be_formed_are_an_error(split, changes, batch_size, workers, message):
    prepared = prepare(split, SPEC, cache_bytes=2**20)
    with pytest.raises(ValueError, match=message):
        training_batches(prepared, recipe(**changes), batch_size, worker=Worker(0, workers, 1))


@pytest.mark.parametrize(
    "cache_bytes, changes",
    [(2**20, {}), pytest.param(0, {"scale": (0.3, 1.0), "cutmix": 1.0}, marks=pytest.mark.slow)],
)
def test_chosen_steps_at_another_size_are_those_of_a_run_of_that_size(split, cache_bytes, changes):
    """Whatever the size, the order of the images is the same."""
    small = dataclasses.replace(SPEC, size=(4, 6))
    whole = arrays(training_batches(prepare(split, small, cache_bytes=cache_bytes), recipe(**changes), 4))
    prepared = prepare(split, SPEC, cache_bytes=cache_bytes)
    found = training_batches(prepared.at((4, 6)), recipe(**changes), 4, 2, chosen=np.array([1, 3, 6, 7]))
    assert_equal(arrays(found), [whole[step] for step in (3, 6, 7)])
    assert prepared.at((8, 8)) is prepared and prepared.at((4, 6)).cached == prepared.cached == bool(cache_bytes)


def test_a_bad_image_is_listed_once_for_all_sizes(split):
    broken = break_two(split)
    prepared = prepare(split, SPEC, max_bad_fraction=0.1, cache_bytes=2**20)
    assert prepared.at((4, 4)).bad == prepared.bad and [name for name, _ in prepared.bad] == list(broken)


@pytest.mark.parametrize("workers, replicas", [(1, 2), (2, 1), (3, 2)])
def test_workers_and_replicas_evaluate_every_image_once(split, workers, replicas):
    prepared = prepare(split, SPEC, cache_bytes=2**20)
    (whole,) = arrays(evaluation_batches(prepared, 24))
    streams = [arrays(evaluation_batches(prepared, 12, Worker(w, workers, replicas))) for w in range(workers)]
    assert {len(stream) for stream in streams} == {2 * replicas}
    steps = [stream[s * replicas : (s + 1) * replicas] for s in range(2) for stream in streams]
    batches = [batch for step in steps for batch in step]
    assert_equal([whole], [[np.concatenate(values) for values in zip(*batches)]])


def test_another_seed_gives_another_order(split):
    prepared = prepare(split, SPEC, cache_bytes=2**20)
    one, other = (keys(training_batches(prepared, recipe(seed=s, **STILL), 4)) for s in (0, 1))
    assert one != other


@pytest.mark.parametrize("batch_size", [1, 4, 5, 100])
def test_evaluation_weighs_every_image_once(split, batch_size):
    prepared = prepare(split, SPEC, cache_bytes=2**20)
    batches = [[x.numpy() for x in batch] for batch in evaluation_batches(prepared, batch_size)]
    assert {images.shape for images, _, _ in batches} == {(batch_size, 8, 8, 3)}
    labels, weights = (np.concatenate([b[i] for b in batches]) for i in (1, 2))
    assert weights.sum() == len(split)
    np.testing.assert_array_equal(labels[weights > 0], split.labels)


def test_images_are_preprocessed_by_the_spec(split):
    prepared = prepare(split, SPEC)
    images, _, _ = next(iter(evaluation_batches(prepared, 2)))
    expected = preprocess_input(read_image(split.names[0])[None], SPEC)
    np.testing.assert_allclose(images[0], expected[0], atol=1.01 * 2 / 255)


@pytest.mark.filterwarnings("ignore:::PIL")  # of odd EXIF
@pytest.mark.parametrize("cache_bytes", [0, 2**24], ids=["decoded every epoch", "cached"])
def test_images_of_every_kind_are_seen_as_pillow_sees_them(cache_bytes, tmp_path):
    known = {name: content for name, content in kinds.images().items() if name not in kinds.BEYOND_PILLOW}
    seen = {name: kinds.seen_by_pillow(content) for name, content in known.items()}
    expected = {name: resize(image, SPEC).numpy() for name, image in seen.items() if image is not None}
    for name in expected:
        (tmp_path / name).write_bytes(known[name])
    split = Split(tuple(str(tmp_path / name) for name in expected), np.arange(len(expected), dtype="int32"))
    found = evaluation_batches(prepare(split, SPEC, max_bad_fraction=0.9, cache_bytes=cache_bytes), len(split))
    [(batch, labels, weights)] = found
    assert weights.numpy().all() and list(labels) == list(split.labels)
    for name, image in zip(expected, batch.numpy()):
        step = 1.01 * 2 / 255 if name in kinds.ROUNDED else 0
        np.testing.assert_allclose(image, normalize(expected[name], SPEC), rtol=0, atol=step, err_msg=name)


def break_two(split):
    names = split.names[3], split.names[7]
    Path(names[0]).write_bytes(Path(names[0]).read_bytes()[:60])
    Path(names[1]).unlink()
    return names


def test_a_bad_image_is_named_and_has_weight_0(split):
    broken = break_two(split)
    cached = prepare(split, SPEC, max_bad_fraction=0.1, cache_bytes=2**20)
    uncached = prepare(split, SPEC, max_bad_fraction=0.1)
    assert [name for name, _ in cached.bad] == list(broken) and uncached.bad == ()
    streams = [arrays(evaluation_batches(prepared, 4)) for prepared in (cached, uncached)]
    assert_equal(*streams)
    weights = np.concatenate([batch[2] for batch in streams[0]])[: len(split)]
    np.testing.assert_array_equal(np.flatnonzero(weights == 0), [3, 7])
    assert sorted(uncached.bad) == sorted(cached.bad)
    assert [text in reason for (_, reason), text in zip(cached.bad, ("cannot be read as an image", "No such file"))]


def test_a_bad_image_is_replaced_by_the_next(split):
    whole = prepare(split, SPEC, cache_bytes=2**20)
    images = np.concatenate([batch[0] for batch in arrays(evaluation_batches(whole, 7))])
    indices = {image.tobytes(): index for index, image in enumerate(images)}
    before = [indices[key] for key in keys(training_batches(whole, recipe(**STILL), 7))]
    broken = break_two(split)
    cached = prepare(split, SPEC, max_bad_fraction=0.1, cache_bytes=2**20)
    uncached = prepare(split, SPEC, max_bad_fraction=0.1)
    after = training_batches(cached, recipe(**STILL), 7)
    assert [indices[key] for key in keys(after)] == [{3: 4, 7: 8}.get(index, index) for index in before]
    assert_equal(arrays(after), arrays(training_batches(uncached, recipe(**STILL), 7)))
    assert cached.replaced[0] == (broken[0], f"{cached.bad[0][1]}; {split.names[4]} takes its place")


def test_a_file_that_breaks_while_training_is_found_and_replaced(split):
    prepared = prepare(split, SPEC, max_bad_fraction=0.05)
    batches = iter(training_batches(prepared, recipe(epochs=20, **STILL), 7))
    next(batches)
    assert prepared.bad == ()
    Path(split.names[0]).write_bytes(b"")
    arrays(itertools.islice(batches, 30))
    assert [name for name, _ in prepared.bad] == [split.names[0]]
    prepared.quarantine.check()
    break_two(split)
    assert len(arrays(batches)) == 29
    with pytest.raises(ValueError, match=r"3 of 21 images cannot be decoded, more than max_bad_fraction=0.05"):
        prepared.quarantine.check()


@pytest.mark.slow  # test_decoding has it of one image
def test_without_any_good_image_the_first_error_is_raised(split):
    for name in split.names:
        Path(name).unlink()
    with pytest.raises(tf.errors.NotFoundError, match=r"\.png; No such file"):
        arrays(training_batches(prepare(split, SPEC), recipe(), 7))


def test_more_bad_images_than_allowed_are_an_error(split):
    Path(split.names[0]).write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 21 images .*max_bad_fraction=0.04[\s\S]*00.png"):
        prepare(split, SPEC, max_bad_fraction=0.04, cache_bytes=2**20)


def arrays(batches):
    return [[value.numpy() for value in batch] for batch in batches]


def assert_equal(some, others):
    for batch, other in zip(some, others, strict=True):
        for value, expected in zip(batch, other, strict=True):
            np.testing.assert_array_equal(value, expected)


def keys(batches):
    return [image.tobytes() for images, *_ in batches for image in images.numpy()]
