import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.preprocessing import Spec, read_image
from keras_vit.training.augmentation import random_resized_crop
from tests.images_of_all_kinds import images, seen_by_pillow
from tests.training.photograph import encode, photograph
from tests.training.toy import recipe

SPEC = Spec((48, 40), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}


def boxes(height, width, number=2000, **changes):
    """Many boxes in an image, as numpy (number, 4)."""
    chosen_by = recipe(**{"scale": (0.08, 1.0)} | changes)
    draws = tf.random.stateless_uniform((number, random_resized_crop.TRIES, 4), (0, 0), alg="philox")
    chosen = tf.data.Dataset.from_tensor_slices(draws).map(
        lambda d: random_resized_crop.choose_box((height, width), chosen_by, d)
    )
    return np.stack(list(chosen.as_numpy_iterator()))


def test_boxes_lie_inside_and_reach_every_edge():
    top, left, height, width = boxes(300, 400).T
    assert min(top.min(), left.min()) == 0 and min(height.min(), width.min()) > 0
    assert (top + height).max() == 300 and (left + width).max() == 400


def test_area_and_aspect_are_distributed_as_defined():
    """Area and logarithm of the aspect ratio are uniform if every try fits: quantiles of 2,000 within 0.03."""
    height, width = boxes(4000, 4000, scale=(0.1, 0.5))[:, 2:].T
    area, aspect = height * width / 4000**2, np.log(width / height) / np.log(4 / 3)
    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose((np.quantile(area, quantiles) - 0.1) / 0.4, quantiles, atol=0.03)
    np.testing.assert_allclose(np.quantile(aspect, quantiles), 2 * quantiles - 1, atol=0.06)


def test_positions_are_uniform():
    top, left, height, width = boxes(400, 400, scale=(0.2, 0.2)).T
    for start, room in ((top, 400 - height), (left, 400 - width)):
        assert abs((start / room).mean() - 0.5) < 0.03 and abs((start / room).std() - 12**-0.5) < 0.02


@pytest.mark.parametrize(
    "height, width, box", [(1000, 10, (493, 0, 13, 10)), (10, 1000, (0, 493, 10, 13)), (9, 9, (0, 0, 9, 9))]
)
def test_a_centre_crop_is_taken_if_no_try_fits(height, width, box):
    chosen = recipe(scale=(1.0, 1.0), ratio=(3 / 4, 4 / 3) if height != width else (2.0, 3.0))
    draws = tf.random.stateless_uniform((random_resized_crop.TRIES, 4), (0, 1), alg="philox")
    expected = box if height != width else (2, 0, 4, 9)
    assert random_resized_crop.choose_box((height, width), chosen, draws).numpy().tolist() == list(expected)


def from_pixels(pixels, seed, **changes):
    """The crop of a lossless file of these pixels."""
    chosen = recipe(**{"scale": (0.08, 1.0)} | changes)
    return random_resized_crop.decode_and_crop(
        encode(pixels, "PNG"), SPEC, chosen, tf.constant([0, seed], tf.int64)
    ).numpy()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("subsampling, tolerance", [(0, 0), (2, 0.2)])
def test_decoding_only_the_crop_changes_no_pixel(seed, subsampling, tolerance):
    """Below twice the size of the result, a JPEG's crop equals that of its decoded pixels. Colours at half the
    resolution are interpolated without their neighbours beyond the crop."""
    encoded = encode(photograph()[:90, :78], quality=90, subsampling=subsampling)
    pixels = np.array(Image.open(io.BytesIO(encoded)))
    chosen = recipe(scale=(0.08, 1.0), train_interpolation="bicubic")
    image = random_resized_crop.decode_and_crop(encoded, SPEC, chosen, tf.constant([0, seed], tf.int64)).numpy()
    expected = from_pixels(pixels, seed, train_interpolation="bicubic")
    assert np.abs(image.astype(float) - expected).mean() <= tolerance


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(100, 130), (30, 35), (48, 400)])
def test_resizing_equals_pils_up_to_rounding_between_the_axes(shape, interpolation):
    pixels = photograph()[: shape[0], : shape[1]]
    resized = random_resized_crop.resize(tf.constant(pixels), SPEC.size, interpolation).numpy()
    expected = Image.fromarray(pixels).resize(SPEC.size[::-1], getattr(Image, interpolation.upper()))
    difference = np.abs(resized.astype(int) - np.asarray(expected))
    assert resized.dtype == "uint8" and difference.max() <= 2 and difference.mean() < 0.3


def test_resizing_equals_tensorflows():
    pixels = tf.constant(photograph()[:300, :400])
    expected = tf.image.resize(pixels, (224, 224), "bicubic", antialias=True)
    expected = tf.saturate_cast(tf.floor(expected + 0.5), tf.uint8)
    np.testing.assert_array_equal(random_resized_crop.resize(pixels, (224, 224), "bicubic"), expected)


def test_a_large_crop_is_decoded_at_a_smaller_scale_with_little_difference():
    """Nearly all of the photograph, 427 x 640, to 48 x 40: decoded at an eighth; mean difference in 255."""
    encoded = encode(photograph(), quality=95)
    chosen = recipe(scale=(0.99, 0.99), ratio=(1.5, 1.5), train_interpolation="bicubic")
    image = random_resized_crop.decode_and_crop(encoded, SPEC, chosen, tf.constant([0, 0], tf.int64)).numpy()
    draws = tf.random.stateless_uniform((random_resized_crop.TRIES + 1, 4), (0, 0), alg="philox")[
        : random_resized_crop.TRIES
    ]
    top, left, height, width = random_resized_crop.choose_box((427, 640), chosen, draws).numpy()
    top, left, height, width = (side // 8 * 8 for side in (top, left, height, width))  # pixels of an eighth
    box = tf.constant(photograph()[top : top + height, left : left + width])
    expected = random_resized_crop.resize(box, SPEC.size, "bicubic").numpy()
    assert 0.5 < np.abs(image.astype(float) - expected).mean() < 3


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "random"])
def test_the_recipe_sets_the_interpolation(interpolation):
    pixels = photograph()[:80, :80]
    both = [
        random_resized_crop.resize(tf.constant(pixels), SPEC.size, name).numpy() for name in ("bilinear", "bicubic")
    ]
    found = [from_pixels(pixels, seed, **WHOLE, train_interpolation=interpolation) for seed in range(12)]
    taken = {name for name, image in zip(("bilinear", "bicubic"), both) if any((f == image).all() for f in found)}
    assert taken == ({interpolation} if interpolation != "random" else {"bilinear", "bicubic"})


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_crop_of_a_rotated_jpeg_is_upright(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "turned.jpg").write_bytes(encode(photograph()[:80, :80], quality=95, exif=exif))
    chosen = recipe(**WHOLE, train_interpolation="bilinear")
    encoded = (tmp_path / "turned.jpg").read_bytes()
    image = random_resized_crop.decode_and_crop(encoded, SPEC, chosen, tf.constant([0, 0], tf.int64)).numpy()
    upright = random_resized_crop.resize(
        tf.constant(read_image(tmp_path / "turned.jpg")), SPEC.size, "bilinear"
    ).numpy()
    np.testing.assert_array_equal(image, upright)


def test_images_of_every_kind_are_cropped_as_pillow_sees_them():
    chosen = recipe(scale=(1.0, 1.0), ratio=(0.01, 100.0), train_interpolation="bilinear")  # the whole image
    crop = tf.function(
        lambda encoded: random_resized_crop.decode_and_crop(encoded, SPEC, chosen, tf.constant([0, 0], tf.int64)),
        input_signature=[tf.TensorSpec([], tf.string)],
    )
    for name in (
        *(
            "jpeg_exif_long.jpg",
            "jpeg_exif_after_200_kB.jpg",
            "jpeg_xmp_6.jpg",
            "jpeg_cmyk_noadobe.jpg",
            "png_exif_6.png",
        ),
        *(
            "bmp_palette8.bmp",
            "bmp_inverted8.bmp",
            "bmp_16_565_masks.bmp",
            "gif_small_first_frame.gif",
            "tiff_CMYK.tif",
        ),
        *("webp_lossy_alpha.webp", "jp2.jp2", "png_exif_as_raw_profile.png"),
    ):
        content = images()[name]
        expected = random_resized_crop.resize(tf.constant(seen_by_pillow(content)), SPEC.size, "bilinear")
        np.testing.assert_array_equal(crop(content), expected, err_msg=name)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_other_formats_are_cropped_too(kind):
    pixels = np.full((60, 70, 3), (200, 100, 0), "uint8")
    encoded = encode(pixels, kind)
    image = random_resized_crop.decode_and_crop(
        encoded, SPEC, recipe(scale=(0.08, 1.0)), tf.constant([0, 0], tf.int64)
    ).numpy()
    assert image.shape == (48, 40, 3) and np.abs(image - [200.0, 100.0, 0.0]).max() < 4


def test_it_runs_in_a_pipeline_and_the_seed_determines_the_crop():
    encoded = tf.constant(encode(photograph()[:100, :120]))
    seeds = tf.data.Dataset.from_tensor_slices(np.array([[0, 5], [0, 5], [0, 6]]))
    chosen = recipe(scale=(0.08, 1.0))
    images = seeds.map(lambda seed: random_resized_crop.decode_and_crop(encoded, SPEC, chosen, seed))
    assert images.element_spec.shape == (48, 40, 3)
    one, again, other = images.as_numpy_iterator()
    assert (one == again).all() and (one != other).any()


def test_broken_images_are_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError):
        random_resized_crop.decode_and_crop(b"no image", SPEC, recipe(scale=(0.08, 1.0)), tf.constant([0, 0], tf.int64))
    with pytest.raises(tf.errors.InvalidArgumentError):
        cut = encode(photograph())[:5000]
        random_resized_crop.decode_and_crop(cut, SPEC, recipe(scale=(0.9, 1.0)), tf.constant([0, 0], tf.int64))
