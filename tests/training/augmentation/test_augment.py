import numpy as np
import pytest
import tensorflow as tf

from keras_vit import preprocessing
from keras_vit.preprocessing import Spec
from keras_vit.training.augmentation import augment
from tests.training.photograph import small
from tests.training.toy import recipe

SPEC = Spec((12, 10), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STILL = {"shift": 0.0, "hflip": 0.0}
EVERYTHING = {"rotate": 10, "hflip": 0.5, "reprob": 0.5, "mixup": 0.8, "cutmix": 1.0, "seed": 3}


def random_images(number=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, 12, 10, 3), "uint8"), np.arange(number, dtype="int32")


def batch(step=0, offset=0, size=8, batch_size=8, **changes):
    """A micro-batch of the batch of a step, as numpy."""
    images, labels = (values[offset : offset + size] for values in random_images(batch_size))
    chosen = recipe(**STILL | changes)
    return [t.numpy() for t in augment.augment_batch(images, labels, chosen, SPEC, step, offset, batch_size)]


def test_without_augmentation_images_are_normalised_and_have_weight_1():
    images, labels = random_images()
    found = batch()
    np.testing.assert_allclose(found[0], preprocessing.normalize(images, SPEC), atol=1e-6)
    assert [value.dtype.name for value in found] == ["float32", "int32", "int32", "float32"]
    np.testing.assert_array_equal(found[1:], [labels, labels, np.ones(8)])


@pytest.mark.parametrize("size", [2, 4])
def test_any_division_of_a_batch_gives_the_same_images(size):
    whole = batch(step=7, **EVERYTHING)
    micro_batches = [batch(step=7, offset=offset, size=size, **EVERYTHING) for offset in range(0, 8, size)]
    for expected, values in zip(whole, zip(*micro_batches)):
        np.testing.assert_array_equal(np.concatenate(values), expected)


def test_a_micro_batch_of_one_image_has_a_shape_that_is_known():
    chosen = recipe(**STILL, rotate=10, reprob=0.5)
    one = tf.data.Dataset.from_tensors(tuple(values[3:4] for values in random_images()))
    found = one.map(lambda *values: augment.augment_batch(*values, chosen, SPEC, 0, 3, 8))
    assert [spec.shape.as_list() for spec in found.element_spec] == [[1, 12, 10, 3], [1], [1], [1]]


@pytest.mark.parametrize("changes", [{"rotate": 20}, {"hflip": 0.5}, {"reprob": 0.5}, {"mixup": 1.0}, {"cutmix": 1.0}])
def test_the_step_and_the_seed_determine_the_augmentation(changes):
    one, again = (batch(step=5, **changes)[0] for _ in range(2))
    assert (one == again).all()
    assert (one != batch(step=6, **changes)[0]).any() and (one != batch(step=5, seed=1, **changes)[0]).any()


def test_a_flip_mirrors_some_images_and_leaves_others():
    images = preprocessing.normalize(random_images(32)[0], SPEC)
    flipped = batch(hflip=0.5, size=32, batch_size=32)[0]
    mirrored = [np.allclose(f, i[:, ::-1], atol=1e-5) for f, i in zip(flipped, images)]
    left = [np.allclose(f, i, atol=1e-5) for f, i in zip(flipped, images)]
    assert all(a != b for a, b in zip(mirrored, left)) and 6 < sum(mirrored) < 26
    np.testing.assert_allclose(batch(hflip=1.0)[0], images[:8, :, ::-1], atol=1e-5)


def test_the_recipes_fraction_of_images_is_erased():
    images, erased = batch(size=200, batch_size=200)[0], batch(size=200, batch_size=200, reprob=0.25)[0]
    assert 0.15 < (images != erased).any(axis=(1, 2, 3)).mean() < 0.35


def test_images_are_mixed_with_their_partners_by_the_weights():
    images = preprocessing.normalize(random_images()[0], SPEC)
    mixed, labels, partners, weights = batch(mixup=1.0)
    weights = weights[:, None, None, None]
    np.testing.assert_allclose(mixed, weights * images[labels] + (1 - weights) * images[partners], atol=1e-5)
    np.testing.assert_array_equal(partners, labels ^ 1)


def test_an_odd_micro_batch_cannot_be_mixed():
    with pytest.raises(ValueError, match="even micro-batch. Received: 3"):
        batch(size=3, mixup=0.2)
    assert batch(size=3)[0].shape == (3, 12, 10, 3)


def test_it_runs_in_a_pipeline():
    images, labels = random_images()
    steps = tf.data.Dataset.range(3)
    chosen = recipe(**EVERYTHING)
    batches = steps.map(lambda step: augment.augment_batch(images[4:], labels[4:], chosen, SPEC, step, step * 0 + 4, 8))
    assert [spec.shape for spec in batches.element_spec] == [(4, 12, 10, 3), (4,), (4,), (4,)]
    for step, found in enumerate(batches.as_numpy_iterator()):
        for value, expected in zip(found, batch(step=step, offset=4, size=4, shift=0.1, **EVERYTHING | {"hflip": 0.5})):
            np.testing.assert_allclose(value, expected, atol=1e-5)


def test_randaugment_and_colour_jitter_change_images_one_by_one():
    assert not augment.changes_images(recipe(**EVERYTHING))
    assert augment.changes_images(recipe(aa="rand-m9")) and augment.changes_images(recipe(color_jitter=0.4))
    with pytest.raises(ValueError, match="aa is written as"):
        augment.changes_images(recipe(aa="auto"))


@pytest.mark.parametrize("changes", [{"aa": "rand-m9-n2"}, {"color_jitter": 0.4}])
def test_the_seed_determines_how_an_image_is_augmented(changes):
    image, chosen = tf.constant(small(16)), recipe(**changes)
    found = [augment.augment_image(image, chosen, tf.constant([0, i], tf.int64)).numpy() for i in (*range(6), 5)]
    assert all(f.dtype == "uint8" and f.shape == image.shape for f in found)
    assert (found[-1] == found[-2]).all() and len({f.tobytes() for f in found}) > 2


def test_a_recipe_without_either_leaves_the_image_unchanged():
    image = tf.constant(small(16))
    assert augment.augment_image(image, recipe(), tf.constant([0, 0], tf.int64)) is image
