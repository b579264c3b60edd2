import collections

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.training.augmentation import pil_ops, randaugment
from keras_vit.training.augmentation.randaugment import Policy, parse
from tests.training.photograph import small


@pytest.mark.parametrize(
    "text, policy",
    [
        ("rand-m9-n2-mstd0.5-inc1", Policy(9, 2, 0.5, True)),
        ("rand-m9-mstd0.5-inc1", Policy(9, 2, 0.5, True)),
        ("rand", Policy(10, 2, 0.0, False)),
        ("rand-inc0-n3-m5.5", Policy(5.5, 3, 0.0, False)),
    ],
)
def test_timms_notation_is_parsed(text, policy):
    assert parse(text) == policy


@pytest.mark.parametrize(
    "text",
    ["rand-m9-w0", "augmix-m3", "rand-m11", "rand-n0", "rand-n1.5", "rand-inc2", "rand-m", "rand-m9-m8", "", "rand-"],
)
def test_an_invalid_policy_is_an_error_that_lists_the_fields(text):
    with pytest.raises(ValueError, match="Received: '.*'.*m: magnitude.*mstd: standard deviation.*inc: 1 for"):
        parse(text)


def test_levels_map_to_the_arguments_of_timm(monkeypatch):
    """The argument that each operation gets at level 9, and at -9 where there is a direction."""
    for name in ("auto_contrast", "equalize", "invert"):
        monkeypatch.setattr(pil_ops, name, lambda image: None)
    takers = ("rotate", "posterize", "solarize", "solarize_add", "color", "contrast", "brightness", "sharpness")
    for name in (*takers, "shear_x", "shear_y", "translate_x", "translate_y"):
        monkeypatch.setattr(pil_ops, name, lambda image, argument: float(argument))

    def arguments(increasing, level):
        operations = randaugment.operations(increasing).items()
        return {name: operation(None, tf.constant(level)) for name, operation in operations}

    moved = {"Rotate": 27, "ShearX": 0.27, "ShearY": 0.27, "TranslateX": 0.405, "TranslateY": 0.405}
    enhanced = ("Color", "Contrast", "Brightness", "Sharpness")
    nothing = dict.fromkeys(("AutoContrast", "Equalize", "Invert"))
    growing = nothing | moved | {"Posterize": 1, "Solarize": 26, "SolarizeAdd": 99} | dict.fromkeys(enhanced, 1.81)
    assert arguments(True, 9.0) == pytest.approx(growing)
    opposite = {name: -value for name, value in moved.items()} | dict.fromkeys(enhanced, 0.19)
    assert arguments(True, -9.0) == pytest.approx(growing | opposite)
    plain = growing | {"Posterize": 3, "Solarize": 230} | dict.fromkeys(enhanced, 1.72)
    assert arguments(False, 9.0) == pytest.approx(plain)


def test_operations_levels_and_signs_are_drawn_as_defined(monkeypatch):
    """15 operations, equally likely, skipped half of the time; magnitude 9 +- 0.5, never above 10; both signs."""
    seen = []

    def record(increasing):
        def apply(image, index, level):
            seen.append((int(index), float(level)))
            return image

        return apply

    monkeypatch.setattr(randaugment, "compiled_operations", record)
    for i in range(300):
        randaugment.augment(np.zeros((4, 4, 3), "uint8"), Policy(9, 3, 0.5, True), tf.constant([1, i], tf.int64))
    indices, levels = np.array([index for index, _ in seen]), np.array([level for _, level in seen])
    counts = collections.Counter(indices.tolist())
    assert set(counts) == set(range(16)) and abs(counts.pop(15) / 900 - 0.5) < 0.06
    assert max(counts.values()) < 55 and min(counts.values()) > 12  # 30 expected
    assert np.abs(levels).max() <= 10 and abs(np.abs(levels).mean() - 9) < 0.1
    assert 0.45 < np.abs(levels).std() < 0.53 and abs((levels > 0).mean() - 0.5) < 0.06


def test_the_seed_determines_the_result():
    image = tf.constant(small(24))
    one, again, other = (
        randaugment.augment(image, parse("rand-m9-n3-inc1"), tf.constant([3, i], tf.int64)).numpy() for i in (5, 5, 6)
    )
    assert one.dtype == "uint8" and one.shape == image.shape
    assert (one == again).all() and (one != other).any()


def test_images_of_a_pipeline_differ():
    images = tf.data.Dataset.range(8).map(
        lambda i: randaugment.augment(tf.constant(small(24)), Policy(), tf.stack([i, i]))
    )
    assert len({image.tobytes() for image in images.as_numpy_iterator()}) > 3
