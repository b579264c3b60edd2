import io

import numpy as np
from PIL import Image

from keras_vit.preprocessing import Spec
from keras_vit.training import crop
from tests.training.toy import recipe

SPEC = Spec((12, 10), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def test_the_size_is_the_specs():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), "uint8")
    image = crop.decode_and_crop(jpeg(pixels), SPEC, recipe(scale=(0.1, 1.0)), (0, 0))
    assert image.shape == (12, 10, 3) and image.dtype == "uint8"
