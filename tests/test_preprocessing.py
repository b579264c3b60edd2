"""Pictures against PIL, the spec against itself, normalising against numpy."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from keras_vit.preprocessing import (
    Spec,
    decode_and_resize,
    decode_image,
    normalize,
    normalizes_inside,
    preprocess_input,
    read_image,
    resize,
    resolve_spec,
)

HALF = (0.5, 0.5, 0.5)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def spec(size, **changes):
    size = (size, size) if isinstance(size, int) else size
    return Spec(size, MEAN, STD, **changes)


def photographs():
    from sklearn.datasets import load_sample_images

    return load_sample_images().images


def digits():
    from sklearn.datasets import load_digits

    images = load_digits().images[:4] * (255 / 16)
    return [np.repeat(image[..., None].round().astype("uint8"), 3, axis=-1) for image in images]


def pil_resize(image, spec, in_two_steps=False):
    """What torchvision's Resize and CenterCrop (timm's ResizeKeepRatio if not square) do with PIL.

    In two steps: first along W, then along H, whichever order this version of PIL would choose.
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
    images, wanted = CASES[case]
    upright = images()
    both = upright + [np.ascontiguousarray(image.transpose(1, 0, 2)) for image in upright]
    ours = [resize(image, wanted).numpy() for image in both]

    def differences(**options):
        return [np.abs(o - pil_resize(i, wanted, **options)).mean() for o, i in zip(ours, both)]

    record_property("mean_absolute_difference_of_255", float(np.mean(differences())))
    print(f"{case}: mean |difference from PIL| = {np.mean(differences()):.4f} of 255")  # pytest -rP
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
    image, wanted = photographs()[0], spec(64, crop_pct=0.9, interpolation=interpolation)
    np.testing.assert_array_equal(resize(image, wanted).numpy(), resize(image.astype("float64"), wanted).numpy())


def test_resize_of_a_batch_equals_one_by_one():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 15, 3), np.uint8)
    wanted = spec((8, 11), crop_pct=0.9)
    together = resize(images, wanted).numpy()
    assert together.shape == (2, 3, 8, 11, 3)
    np.testing.assert_array_equal(together[1, 2], resize(images[1, 2], wanted).numpy())


def test_resize_in_a_graph_of_unknown_size():
    import tensorflow as tf

    wanted = spec((8, 6), crop_pct=0.8)
    shapes = []

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def graph(image):
        out = resize(image, wanted)
        shapes.append(tuple(out.shape))
        return out

    for size in ((20, 31), (9, 7), (3, 50)):
        image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
        np.testing.assert_array_equal(graph(image), resize(image, wanted))
    assert shapes == [(8, 6, 3)]


def test_resize_refuses_a_plane():
    with pytest.raises(ValueError, match=r"H0, W0, C"):
        resize(np.zeros((4, 4), "uint8"), spec(2))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def flower(size=(40, 61)):
    return resize(photographs()[1], spec(size)).numpy().astype("uint8")


@pytest.mark.parametrize("kind", ["png", "bmp", "jpeg"])
def test_decode_image_gives_pils_pixels(kind):
    data = encoded(flower(), kind)
    np.testing.assert_array_equal(decode_image(data).numpy(), read_image(io.BytesIO(data)))


def test_decode_image_takes_the_first_frame_of_a_gif():
    frames = [Image.fromarray(np.full((5, 6, 3), value, "uint8")) for value in (250, 10)]
    data = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])
    for image in (decode_image(data).numpy(), read_image(io.BytesIO(data))):
        assert image.shape == (5, 6, 3) and (image == 250).all()


@pytest.mark.parametrize("mode", ["RGBA", "L", "P"])
def test_other_png_modes_become_rgb(mode):
    picture = Image.fromarray(flower()).convert(mode)
    if mode == "RGBA":
        picture.putalpha(100)
    data = encoded(picture, "png")
    image = read_image(io.BytesIO(data))
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))
    np.testing.assert_array_equal(decode_image(data).numpy(), image)


def test_sixteen_bit_png_keeps_the_upper_bits():
    values = (np.arange(48).reshape(6, 8) * 1300).astype("uint16")
    data = encoded(Image.fromarray(values), "png")
    image = read_image(io.BytesIO(data))
    np.testing.assert_array_equal(image[..., 1], values >> 8)
    np.testing.assert_array_equal(decode_image(data).numpy(), image)


def test_cmyk_jpeg_becomes_rgb():
    data = encoded(Image.fromarray(flower()).convert("CMYK"), "jpeg", quality=95)
    image = read_image(io.BytesIO(data))
    assert image.shape == (40, 61, 3)
    assert np.abs(image.astype(int) - flower()).mean() < 8
    assert np.abs(image.astype(int) - decode_image(data).numpy()).mean() < 8


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_in_the_graph_as_pil_does(orientation, order):
    exif = Image.Exif()
    exif.endian = "<" if order == "little" else ">"
    exif[0x010F] = "a maker"  # an entry before it, with its value elsewhere
    exif[0x0112] = orientation
    data = encoded(flower(), "jpeg", exif=exif.tobytes())
    image = read_image(io.BytesIO(data))
    assert image.shape == ((61, 40, 3) if orientation >= 5 else (40, 61, 3))
    np.testing.assert_array_equal(decode_image(data).numpy(), image)


def test_decode_and_resize_a_batch_of_mixed_pictures_in_a_graph():
    import tensorflow as tf

    wanted = spec((12, 16), crop_pct=0.9)
    files = [encoded(flower(), "jpeg"), encoded(flower((33, 20)), "png"), encoded(flower(), "bmp")]
    graph = tf.function(
        lambda data: decode_and_resize(data, wanted),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    out = graph(tf.constant(files))
    assert out.shape == (3, 12, 16, 3) and out.dtype == tf.float32
    for image, data in zip(out, files):
        np.testing.assert_array_equal(image, resize(read_image(io.BytesIO(data)), wanted))
    assert graph(tf.zeros([0], tf.string)).shape == (0, 12, 16, 3)


def test_read_image_names_a_truncated_file(tmp_path):
    for kind in ("png", "jpeg"):
        path = tmp_path / f"half.{kind}"
        data = encoded(flower(), kind)
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match=f"half.{kind}"):
            read_image(path)
    path.write_text("no picture at all")
    with pytest.raises(ValueError, match="half.jpeg"):
        read_image(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_image(tmp_path / "nowhere.png")


def by_numpy(x, mean, std):
    return (np.asarray(x, "float64") / 255 - np.asarray(mean)) / np.asarray(std)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
def test_normalize_numpy(dtype):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(dtype)
    out = normalize(x, spec(4))
    assert isinstance(out, np.ndarray) and out.dtype == np.float32
    np.testing.assert_allclose(out, by_numpy(x, MEAN, STD), atol=1e-6)


def test_normalize_a_backend_tensor_and_a_symbolic_one():
    import keras

    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype("uint8")
    out = normalize(keras.ops.convert_to_tensor(x), spec(4))
    assert keras.ops.is_tensor(out) and keras.backend.standardize_dtype(out.dtype) == "float32"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(out), normalize(x, spec(4)), atol=1e-6)
    image = keras.Input((3, 4, 3), dtype="uint8")
    model = keras.Model(image, normalize(image, spec(4)))
    np.testing.assert_allclose(model.predict(x, verbose=0), normalize(x, spec(4)), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_other_channel_counts_take_the_mean_of_the_means(channels):
    x = np.random.default_rng(0).integers(0, 256, (8, 9, channels))
    expected = by_numpy(x, [sum(MEAN) / 3] * channels, [sum(STD) / 3] * channels)
    np.testing.assert_allclose(normalize(x, spec(8)), expected, atol=1e-6)


def test_channels_first_is_refused():
    import keras

    with pytest.raises(ValueError, match="channels_first"):
        normalize(np.zeros((2, 3, 32, 32)), spec(32))
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            preprocess_input(np.zeros((2, 32, 32, 3)), spec(32))
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_that_normalises_by_itself_is_told_from_one_that_does_not(inside):
    import keras

    from tests.models.toys import TOYS

    variant, shape = TOYS["convnext"]
    model = variant(weights=None, input_shape=shape, classes=2, include_preprocessing=inside)
    assert normalizes_inside(model) == inside
    image = keras.Input(shape)
    assert normalizes_inside(keras.Model(image, keras.layers.Dense(3)(model(image)))) == inside
    assert normalizes_inside(keras.Sequential([keras.Input(shape), *model.layers[1:3]])) == inside


def test_preprocess_input_resizes_only_other_sizes():
    wanted = spec((16, 24), crop_pct=0.8)
    small, right = np.full((2, 9, 9, 3), 77, "uint8"), photographs()[0][:16, :24]
    np.testing.assert_array_equal(preprocess_input(right, wanted), normalize(right, wanted))
    out = preprocess_input(small, wanted)
    assert isinstance(out, np.ndarray) and out.shape == (2, 16, 24, 3)
    np.testing.assert_allclose(out, normalize(np.full_like(out, 77), wanted))


def test_preprocess_input_of_tensors():
    import keras
    import tensorflow as tf

    image = photographs()[0]
    expected = preprocess_input(image, spec(32))
    assert isinstance(preprocess_input(tf.constant(image), spec(32)), tf.Tensor)
    out = preprocess_input(keras.ops.convert_to_tensor(image), spec(32))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(out), expected, atol=1e-6)
    symbolic = keras.Input((None, None, 3))
    assert preprocess_input(symbolic, spec(32)).shape == (None, None, None, 3)
    with pytest.raises(ValueError, match=r"input_shape=\(32, 32, 3\)"):
        preprocess_input(keras.Input((40, 40, 3)), spec(32))


def test_preprocess_input_in_tf_data():
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    data = tf.data.Dataset.from_tensor_slices(images).map(lambda x: preprocess_input(x, spec(8)))
    expected = preprocess_input(images, spec(8))
    np.testing.assert_allclose(np.stack(list(data.as_numpy_iterator())), expected, atol=1e-6)


def test_spec_round_trips(tmp_path):
    one = Spec([8, 9], list(HALF), STD, 0.875, "squash", "bilinear")
    assert one.size == (8, 9) and one.mean == HALF
    assert Spec.from_json(one.to_json()) == one
    one.save(tmp_path / "preprocessing.json")
    assert resolve_spec(tmp_path / "preprocessing.json") == one
    assert resolve_spec(str(tmp_path / "preprocessing.json")) == one


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 224},
        {"size": (224, 0)},
        {"size": (224.5, 224)},
        {"mean": (0.5, 0.5)},
        {"mean": ("0.5", 0.5, 0.5)},
        {"std": (1, 0, 1)},
        {"crop_pct": 0},
        {"crop_pct": 1.1},
        {"crop_pct": "0.9"},
        {"crop_mode": "border"},
        {"interpolation": "nearest"},
    ],
)
def test_bad_spec_names_the_field(changes):
    (field,) = changes
    with pytest.raises(ValueError, match=field):
        Spec(**{"size": (8, 8), "mean": HALF, "std": HALF, **changes})


def test_bad_spec_file_is_named(tmp_path):
    path = tmp_path / "p.json"
    entries = spec(8).to_json()
    for text, word in (("{", "p.json"), ("[]", "p.json"), ('{"size": [8, 8]}', "mean")):
        path.write_text(text)
        with pytest.raises(ValueError, match=word):
            Spec.load(path)
    with pytest.raises(ValueError, match="crop_percentage"):
        Spec.from_json({**entries, "crop_percentage": 1})


def test_spec_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="run folder"):
        preprocess_input(np.zeros((8, 8, 3)), 224)
