import numpy as np
import tensorflow as tf
from PIL import Image, ImageEnhance

from keras_vit.training.augmentation import color_jitter
from tests.training.photograph import small


def test_factors_and_orders_are_drawn_as_defined(monkeypatch):
    seen = []

    def record(image, *drawn):
        seen.append([values.numpy() for values in drawn])

    monkeypatch.setattr(color_jitter, "compiled_operations", lambda: record)
    for i in range(150):
        color_jitter.jitter(None, 0.4, tf.constant([0, i], tf.int64))
    orders, factors = (np.stack(values) for values in zip(*seen))
    assert len({tuple(order) for order in orders}) == 6
    assert 0.6 <= factors.min() < 0.62 and 1.38 < factors.max() <= 1.4 and abs(factors.mean() - 1) < 0.04


def test_a_strength_above_1_never_gives_negative_colours(monkeypatch):
    monkeypatch.setattr(color_jitter, "compiled_operations", lambda: lambda image, order, factors: factors.numpy())
    assert min(color_jitter.jitter(None, 1.5, tf.constant([0, i], tf.int64)).min() for i in range(50)) >= 0


def test_the_operations_are_applied_in_the_order_given():
    image = small(24)
    apply = color_jitter.compiled_operations()
    changed = apply(tf.constant(image), tf.constant([2, 0, 1]), tf.constant([1.3, 0.7, 0.8]))
    expected = Image.fromarray(image)
    for name, factor in (("Color", 1.3), ("Brightness", 0.7), ("Contrast", 0.8)):
        expected = getattr(ImageEnhance, name)(expected).enhance(factor)
    assert np.abs(changed.numpy().astype(int) - np.asarray(expected)).max() <= 2  # a rounding per operation
