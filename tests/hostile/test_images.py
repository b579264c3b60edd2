"""Damaged images: every way of reading one gives the same pixels or says that it cannot be read, in bounded memory."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.preprocessing import Spec, read_image, resize, sizes
from keras_vit.preprocessing.reading import read_with_kind
from keras_vit.system import limits
from keras_vit.training.datasets.check import inspect
from keras_vit.training.datasets.splits import Split
from keras_vit.training.pipeline.batches import prepare
from tests.hostile.bounds import within
from tests.hostile.many import drawn
from tests.hostile.mutations import mutated
from tests.images_of_all_kinds import images

pytestmark = [
    pytest.mark.filterwarnings("ignore:::PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
SPEC = Spec((24, 33), (0, 0, 0), (1, 1, 1), crop_mode="squash")  # the size of most of the images: nothing is resized
CMYK = (("JPEG", "CMYK"), ("MPO", "CMYK"))  # off by 1 in graphs, see images_of_all_kinds.ROUNDED
LARGEST = 500_000_000  # bytes that reading an image may take
LONGEST = 10  # seconds, for one
END = object()  # behind the last value of an iterator
# TensorFlow decodes some damaged images that Pillow refuses, nearly all of them WebP: a share of these 10,000 below
BEYOND_PILLOW = 0.005


def seen_by_pillow(content):
    try:
        return resize(read_image(content), SPEC).numpy()
    except ValueError as error:
        assert str(error).startswith("the image cannot be read as an image: ") and len(str(error)) < 500
        return None


def seen_when_served(contents):
    from keras_vit.export.serving.decoding import decode_or_skip

    served = tf.function(lambda files: decode_or_skip(files, SPEC), [tf.TensorSpec([None], tf.string)], autograph=False)
    for content in contents:
        pixels, decoded = served([content])
        yield pixels[0].numpy() if decoded[0] else None


def seen_in_training(contents):
    names = tuple(f"{number}.jpg" for number in range(len(contents)))
    split = Split(names, np.zeros(len(contents), "int32"), tuple(contents))
    prepared = prepare(split, SPEC, max_bad_fraction=0.999, cache_bytes=2**30)
    bad = {name for name, _ in prepared.bad}
    return [None if name in bad else image for name, image in zip(names, prepared.cache.numpy())]


def seen_by_check_data(contents, folder):
    for content in contents:
        (folder / "image").write_bytes(content)
        yield not {"unreadable", "truncated"} & {problem for problem, _ in inspect(folder / "image")[1]}


def bounded(values):
    """The values of an iterator, each of which must be made within the time and the memory."""
    values = iter(values)
    while True:
        with within(LONGEST, LARGEST):
            value = next(values, END)
        if value is END:
            return
        yield value


def check(contents, folder):
    expected = list(bounded(map(seen_by_pillow, contents)))
    served = list(bounded(seen_when_served(contents)))
    trained = seen_in_training(contents)
    readable = list(bounded(seen_by_check_data(contents, folder)))
    assert readable == [seen is not None for seen in expected]
    more = 0
    for content, by_pillow, when_served, in_training in zip(contents, expected, served, trained):
        if by_pillow is None:
            more += in_training is not None
            continue
        tolerance = int(read_with_kind(content)[1:] in CMYK)
        np.testing.assert_allclose(in_training, by_pillow, rtol=0, atol=tolerance)
        if when_served is not None:
            np.testing.assert_allclose(when_served, by_pillow, rtol=0, atol=tolerance)
    assert more <= BEYOND_PILLOW * len(contents) + 1
    return sum(seen is not None for seen in expected)


def test_a_few_hundred_damaged_images_and_a_bomb(tmp_path):
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert check([*drawn(mutated(list(images().values())), 300), bomb.getvalue()], tmp_path) > 30


@pytest.mark.slow
def test_ten_thousand_damaged_images(tmp_path):
    assert check(drawn(mutated(list(images().values())), 10_000), tmp_path) > 1000


def claiming(name, side):
    """An image whose header claims `side` x `side` pixels."""
    content = bytearray(images()[name])
    place, form = {
        "jpeg_rgb.jpg": (content.find(b"\xff\xc0") + 5, ">HH"),
        "png_RGB.png": (16, ">II"),
        "gif_89a.gif": (6, "<HH"),
        "bmp_24.bmp": (18, "<ii"),
        "webp_lossy.webp": (26, "<HH"),
    }[name]
    struct.pack_into(form, content, place, side, side)
    if name.endswith(".png"):
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("name", ["jpeg_rgb.jpg", "png_RGB.png", "gif_89a.gif", "bmp_24.bmp", "webp_lossy.webp"])
def test_more_pixels_than_allowed_are_refused_by_the_header_alone(name, monkeypatch):
    bomb = claiming(name, 16_000)
    with pytest.raises(ValueError, match="pixels; at most 89478485 are read.*--max-pixels"):
        list(bounded(map(read_image, [bomb])))
    assert not sizes.fits(bomb)
    monkeypatch.setenv(limits.PIXELS_VARIABLE, str(16_000**2))
    assert sizes.fits(bomb)


NARROW = """
import io, resource, sys
from PIL import Image
from keras_vit.export.edge import example
from keras_vit.preprocessing import Spec, read_image
from keras_vit.preprocessing.resizing import resize_array

def used(function, *arguments):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function(*arguments)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024

for mode in ("center", "squash"):
    spec = Spec((224, 224), (0, 0, 0), (1, 1, 1), crop_mode=mode)
    resize_array(read_image(sys.argv[1]), spec)
    for path in sys.argv[2:]:
        print(used(lambda: resize_array(read_image(path), spec)), used(example.prepare, path, spec.to_json()))
"""


@pytest.mark.slow
def test_memory_is_bounded_by_the_image_and_the_result_whatever_its_shape(tmp_path):
    paths = []
    for size in ((9, 9), (1, 4000), (1, 60_000), (60_000, 1), (1, 900_000)):
        paths.append(tmp_path / f"{size[0]}x{size[1]}.png")
        Image.new("1", size).save(paths[-1])
    done = subprocess.run([sys.executable, "-c", NARROW, *paths], capture_output=True, text=True, check=True)
    used = [int(number) for number in done.stdout.split()]
    assert len(used) == 16 and max(used) < 100e6
