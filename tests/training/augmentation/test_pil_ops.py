import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_vit.training.augmentation import pil_ops
from tests.training.photograph import small

IMAGE = Image.fromarray(small())
WIDTH, HEIGHT = IMAGE.size
FILL = tuple(int(value) for value in pil_ops.FILL)


def affine(*matrix):
    return lambda image: image.transform(image.size, Image.AFFINE, matrix, Image.BILINEAR, fillcolor=FILL)


def enhance(name, factor):
    return lambda image: getattr(ImageEnhance, name)(image).enhance(factor)


def add_to_dark(amount):
    return lambda image: image.point([min(255, v + amount) if v < 128 else v for v in range(256)] * 3)


# Operation, its arguments, PIL's operation, the largest difference of 255. Geometric operations interpolate in float32,
# PIL's in float64.
CASES = [
    ("auto_contrast", (), ImageOps.autocontrast, 0),
    ("equalize", (), ImageOps.equalize, 0),
    ("invert", (), ImageOps.invert, 0),
    *[("posterize", (bits,), lambda image, bits=bits: ImageOps.posterize(image, bits), 0) for bits in (1, 3, 8)],
    *[("solarize", (t,), lambda image, t=t: ImageOps.solarize(image, t), 0) for t in (0, 100, 256)],
    *[("solarize_add", (amount,), add_to_dark(amount), 0) for amount in (0, 99)],
    *[
        (name.lower(), (f,), enhance(name, f), 1)
        for name in ("Color", "Contrast", "Brightness")
        for f in (0.1, 1.0, 1.9)
    ],
    *[("sharpness", (f,), enhance("Sharpness", f), 1) for f in (0.1, 1.0, 1.9)],
    *[("rotate", (a,), lambda i, a=a: i.rotate(a, Image.BILINEAR, fillcolor=FILL), 1) for a in (27.0, -8.0, 0.0)],
    *[("shear_x", (f,), affine(1, f, 0, 0, 1, 0), 1) for f in (0.27, -0.1)],
    *[("shear_y", (f,), affine(1, 0, 0, f, 1, 0), 1) for f in (0.27, -0.1)],
    *[("translate_x", (f,), affine(1, 0, f * WIDTH, 0, 1, 0), 1) for f in (0.4, -0.03, 0.0)],
    *[("translate_y", (f,), affine(1, 0, 0, 0, 1, f * HEIGHT), 1) for f in (0.4, -0.03, 0.0)],
]


@pytest.mark.parametrize("name, arguments, reference, tolerance", CASES, ids=lambda value: str(value)[:16])
def test_the_result_is_pils(name, arguments, reference, tolerance):
    changed = getattr(pil_ops, name)(tf.constant(np.asarray(IMAGE)), *arguments).numpy()
    difference = np.abs(changed.astype(int) - np.asarray(reference(IMAGE)).astype(int))
    assert changed.dtype == "uint8" and changed.shape == (HEIGHT, WIDTH, 3)
    assert difference.max() <= tolerance and difference.mean() < 0.1


@pytest.mark.parametrize("name", ["auto_contrast", "equalize"])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (10, 200, 90)])
def test_a_single_colour_is_unchanged(name, colour):
    plain = np.full((9, 8, 3), colour, "uint8")
    assert (getattr(pil_ops, name)(tf.constant(plain)).numpy() == plain).all()


def test_xla_gives_the_same_image():
    image = tf.constant(np.asarray(IMAGE))
    for name, arguments in (("equalize", ()), ("sharpness", (1.7,)), ("rotate", (27.0,))):
        plain = getattr(pil_ops, name)
        compiled = tf.function(plain, jit_compile=True)
        arguments = [tf.constant(argument) for argument in arguments]
        difference = np.abs(plain(image, *arguments).numpy().astype(int) - compiled(image, *arguments).numpy())
        assert difference.max() <= 1 and difference.mean() < 0.01
