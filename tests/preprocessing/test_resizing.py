"""Resizing against PIL, in graphs, in batches, and at the edges."""

import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from keras_vit.preprocessing import resize
from keras_vit.preprocessing.resizing import resize_array
from tests.preprocessing.samples import photographs, spec


def digits():
    from sklearn.datasets import load_digits

    images = load_digits().images[:4] * (255 / 16)
    return [np.repeat(image[..., None].round().astype("uint8"), 3, axis=-1) for image in images]


def pil_resize(image, spec, in_two_steps=False):
    """torchvision's Resize and CenterCrop (timm's ResizeKeepRatio if not square), with PIL.

    In two steps: first along W, then along H, whatever order this version of PIL would choose.
    """
    (H, W), (H0, W0) = spec.size, image.shape[:2]
    h, w = (math.floor(side / spec.crop_pct) for side in spec.size)
    if spec.crop_mode == "center" and H == W:
        h, w = (h, int(h * W0 / H0)) if H0 < W0 else (int(w * H0 / W0), w)
    elif spec.crop_mode == "center":
        ratio = min(H0 / h, W0 / w)
        h, w = round(H0 / ratio), round(W0 / ratio)
    method = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[spec.interpolation]
    resized = Image.fromarray(image)
    for size in ([(w, H0)] if in_two_steps else []) + [(w, h)]:
        resized = resized.resize(size, method)
    top, left = int(round((h - H) / 2)), int(round((w - W) / 2))
    return np.asarray(resized, "float32")[top : top + H, left : left + W]


CASES = {
    "224 / 0.9 bicubic": (photographs, spec(224, crop_pct=0.9)),
    "224 / 0.875 bilinear": (photographs, spec(224, crop_pct=0.875, interpolation="bilinear")),
    "384 squash": (photographs, spec(384, crop_mode="squash")),
    "288 / 1.0": (photographs, spec(288)),
    "192 x 321 / 0.95": (photographs, spec((192, 321), crop_pct=0.95)),
    "600 / 0.9, enlarged": (photographs, spec(600, crop_pct=0.9)),
    "digits 8 -> 32": (digits, spec(32)),
    "digits 8 -> 5 bilinear": (digits, spec(5, interpolation="bilinear")),
}


@pytest.mark.parametrize("case", CASES)
def test_resize_agrees_with_pil(case, record_property):
    images, target = CASES[case]
    wide = images()
    both = wide + [np.ascontiguousarray(image.transpose(1, 0, 2)) for image in wide]
    ours = [resize(image, target).numpy() for image in both]

    def differences(**options):
        return [np.abs(o - pil_resize(i, target, **options)).mean() for o, i in zip(ours, both)]

    record_property("mean_absolute_difference_of_255", float(np.mean(differences())))
    assert max(differences()) < 0.25
    assert np.mean(differences(in_two_steps=True)) < 0.03  # both axes at once leave 0.15


def test_resize_gives_whole_numbers_in_range_where_bicubic_overshoots():
    image = np.zeros((9, 9, 3), "uint8")
    image[:, 5:] = 255
    out = resize(image, spec(32)).numpy()
    assert out.dtype == np.float32 and out.shape == (32, 32, 3)
    assert out.min() == 0 and out.max() == 255
    np.testing.assert_array_equal(out, np.round(out))


def test_resize_of_the_same_size_is_the_identity():
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    np.testing.assert_array_equal(resize(image, spec((7, 5))).numpy(), image)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resize_of_bytes_and_of_floats_is_the_same(interpolation):
    image, target = photographs()[0], spec(64, crop_pct=0.9, interpolation=interpolation)
    np.testing.assert_array_equal(resize(image, target).numpy(), resize(image.astype("float64"), target).numpy())


def test_resize_of_a_batch_equals_one_by_one():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 15, 3), np.uint8)
    target = spec((8, 11), crop_pct=0.9)
    together = resize(images, target).numpy()
    assert together.shape == (2, 3, 8, 11, 3)
    np.testing.assert_array_equal(together[1, 2], resize(images[1, 2], target).numpy())


def test_resize_in_a_graph_of_unknown_size():
    import tensorflow as tf

    target = spec((8, 6), crop_pct=0.8)
    shapes = []

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def graph(image):
        out = resize(image, target)
        shapes.append(tuple(out.shape))
        return out

    for size in ((20, 31), (9, 7), (3, 50)):
        image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
        np.testing.assert_array_equal(graph(image), resize(image, target))
    assert shapes == [(8, 6, 3)]


def test_resize_refuses_a_plane():
    with pytest.raises(ValueError, match=r"H0, W0, C"):
        resize(np.zeros((4, 4), "uint8"), spec(2))


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizing_what_the_crop_is_made_of_is_nearer_to_exact_than_pillow(interpolation, crop_mode):
    """Against whole images resized in float64: off by 1 at most, where a value lies near a half, and less often."""
    draw, ours, pillows = np.random.default_rng(0), [], []
    for _ in range(20):
        size, (H0, W0) = tuple(map(int, draw.integers(1, 90, 2))), map(int, draw.integers(1, 200, 2))
        target = spec(size, crop_pct=float(draw.uniform(0.3, 1)), interpolation=interpolation, crop_mode=crop_mode)
        image = draw.integers(0, 256, (H0, W0, 3), np.uint8)
        (h, w), (H, W) = resized_size(H0, W0, target), size
        top, left = int(round((h - H) / 2)), int(round((w - W) / 2))
        x = rounded(np.einsum("wv,hvc->hwc", exact_weights(W0, w, interpolation), image))
        x = rounded(np.einsum("hg,gwc->hwc", exact_weights(H0, h, interpolation), x))[top : top + H, left : left + W]
        assert np.abs(resize(image, target) - x).max() <= 1
        ours.append((resize(image, target).numpy() != x).mean())
        pillows.append((pil_resize(image, target, in_two_steps=True) != x).mean())
    assert np.mean(ours) < np.mean(pillows)


def exact_weights(before, after, interpolation):
    """The filter's weights, float64 (after, before): triangle, or Keys' cubic of a = -1/2."""
    pixel = before / after
    x = np.abs((np.arange(after) + 0.5)[:, None] * pixel - (np.arange(before) + 0.5)) / max(pixel, 1)
    cubic = np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))
    weights = np.maximum(0, 1 - x) if interpolation == "bilinear" else cubic
    return weights / weights.sum(1, keepdims=True)


def rounded(x):
    return np.clip(np.round(x), 0, 255)


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (4000, 1), (30_000, 3)])
def test_the_crop_of_a_long_narrow_image_takes_little_memory(size):
    import resource

    target = spec(224, crop_pct=0.9)
    resize_array(np.zeros((300, 300, 3), np.uint8), target)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = resize_array(np.full((*size, 3), 77, np.uint8), target)
    assert found.shape == (224, 224, 3) and (found == 77).all()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 100  # MB


def resized_size(H0, W0, spec):
    """(h, w) before the crop, in Python's integers."""
    h, w = (math.floor(side / spec.crop_pct) for side in spec.size)
    if spec.crop_mode == "squash":
        return h, w
    if h == w:
        return (h, h * W0 // H0) if H0 < W0 else (w * H0 // W0, w)
    ratio = min(H0 / h, W0 / w)
    return round(H0 / ratio), round(W0 / ratio)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_an_array_is_resized_as_a_tensor_is_whatever_its_size(interpolation):
    target = spec((24, 31), crop_pct=0.9, interpolation=interpolation)
    for size in ((40, 60), (9, 200), (1, 1), (24, 31)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        found = resize_array(image, target)
        assert isinstance(found, np.ndarray) and found.dtype == np.float32
        np.testing.assert_array_equal(found, resize(image, target))


@pytest.mark.parametrize("mode", ["center", "squash"])
def test_a_large_array_is_resized_in_strips_to_the_same_pixels(mode):
    image = np.random.default_rng(0).integers(0, 256, (2300, 2000, 3), np.uint8)
    target = spec((60, 80), crop_pct=0.9, crop_mode=mode)
    np.testing.assert_array_equal(resize_array(image, target), resize(image, target))


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 60_000), (3, 20_000), (60_000, 1)])
def test_narrow_images_are_resized_as_by_pil(size, mode):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    target = spec(224, crop_mode=mode)
    if mode == "center":  # which PIL enlarges as a whole
        short = min(size)
        margin = np.argmax(size), 300 * short
        middle = size[margin[0]] // 2
        image = image.take(range(max(middle - margin[1], 0), min(middle + margin[1], max(size))), margin[0])
    ours = resize_array(image, target)
    tall_first = mode == "squash" and size[0] * 224 > 2**22
    expected = pil_resize(image, target, in_two_steps=not tall_first)
    assert np.abs(ours - expected).max() <= 1 and np.abs(ours - expected).mean() < 0.03


@pytest.mark.parametrize("rounding, lines", [(None, (2, 4, 0)), ("down", (1, 3, 0))])
def test_half_of_an_odd_surplus_is_rounded_as_the_spec_says(rounding, lines):
    for height, first in zip((11, 15, 9), lines):  # surpluses of 3, 7 and 1 around a crop of 8
        image = np.repeat(np.arange(height, dtype="uint8")[:, None, None] * 10, 8, 1).repeat(3, 2)
        one = dataclasses.replace(spec(8), crop_pct=1.0, crop_rounding=rounding)
        assert resize(image, one).numpy()[0, 0, 0] == first * 10 == resize_array(image, one)[0, 0, 0]
