"""preprocessor_config.json and timm's pretrained_cfg as a `Spec`: every form of size, and what cannot be said."""

import math

import pytest

from keras_vit.preprocessing import Spec
from keras_vit.sources.library_preprocessing import CLIP, IMAGENET, STANDARD, timm_spec, transformers_spec

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}


def spec_of(model_type="vit", **entries):
    return transformers_spec("preprocessor_config.json", entries, {"model_type": model_type})


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("ViTImageProcessor", Spec((224, 224), *STANDARD, 1.0, "squash", "bilinear")),
        ("ViTFeatureExtractor", Spec((224, 224), *STANDARD, 1.0, "squash", "bilinear")),
        ("DeiTImageProcessorFast", Spec((224, 224), *STANDARD, 0.875, "squash", "bicubic")),
        ("DeiTFeatureExtractor", Spec((224, 224), *IMAGENET, 0.875, "squash", "bicubic")),
        ("ConvNextImageProcessor", Spec((384, 384), *STANDARD, 1.0, "squash", "bicubic")),
        ("PvtImageProcessor", Spec((224, 224), *IMAGENET, 1.0, "squash", "bicubic")),
        ("BitImageProcessor", Spec((224, 224), *CLIP, 1.0, "center", "bicubic", crop_rounding="down")),
    ],
)
def test_what_a_file_leaves_out_is_the_processors_own(kind, expected):
    assert spec_of(image_processor_type=kind) == expected


def test_without_a_processors_name_the_model_tells():
    assert spec_of("deit").crop_pct == 0.875 and spec_of("swin").interpolation == "bilinear"


@pytest.mark.parametrize(
    "size, expected",
    [
        (96, (96, 96)),
        ([96, 64], (96, 64)),
        ({"height": 96, "width": 64}, (96, 64)),
        ({"height": 96, "width": 64, "shortest_edge": None}, (96, 64)),
    ],
)
def test_a_stretched_size(size, expected):
    found = spec_of(image_processor_type="ViTImageProcessor", size=size)
    assert (found.size, found.crop_pct, found.crop_mode) == (expected, 1.0, "squash")


@pytest.mark.parametrize("short, crop", [(256, 224), (257, 224), (250, 224), (73, 70), (518, 518), (37, 35)])
def test_a_crop_of_the_short_side_is_resized_to_exactly_that(short, crop):
    size = {"shortest_edge": short}
    found = spec_of(image_processor_type="BitImageProcessor", size=size, crop_size=crop, do_center_crop=True)
    assert found.size == (crop, crop) and math.floor(crop / found.crop_pct) == short
    assert (found.crop_mode, found.crop_rounding) == ("center", "down")


@pytest.mark.parametrize("short, pct", [(224, 0.875), (224, None), (288, 0.95), (70, 0.9), (96, 1.0)])
def test_convnexts_share_is_of_what_it_resizes_to(short, pct):
    found = spec_of(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": short}, crop_pct=pct)
    assert found.size == (short, short) and math.floor(short / found.crop_pct) == int(short / (pct or 0.875))
    assert found.crop_mode == "center"


def test_rescaling_becomes_part_of_mean_and_std():
    plain = spec_of(**HALF)
    assert (plain.mean, plain.std) == ((0.5,) * 3, (0.25,) * 3)
    twice = spec_of(**HALF, rescale_factor=2 / 255)  # (2 x / 255 - 0.5) / 0.25
    assert twice.mean == pytest.approx((0.25,) * 3) and twice.std == pytest.approx((0.125,) * 3)
    pixels = spec_of(do_rescale=False, do_normalize=False)
    assert pixels.mean == (0,) * 3 and pixels.std == pytest.approx((1 / 255,) * 3)
    assert spec_of(do_normalize=False).std == (1,) * 3
    assert spec_of(image_mean=0.5, image_std=[0.25]).mean == (0.5,) * 3


def test_images_that_are_not_resized_are_of_the_models_size():
    found = spec_of(do_resize=False, size={"height": 96, "width": 64}, resample=1)
    assert (found.size, found.crop_pct, found.crop_mode) == ((96, 64), 1.0, "squash")


@pytest.mark.parametrize(
    "entries, field",
    [
        ({"image_processor_type": "CLIPImageProcessor"}, "image_processor_type"),
        ({"do_pad": True}, "do_pad"),
        ({"resample": 0}, r"resample=.0 \(nearest\)"),
        ({"resample": 1}, "lanczos"),
        ({"size": {"longest_edge": 224}}, "size"),
        ({"size": {"height": 224}}, "size"),
        ({"size": -1}, "size"),
        ({"size": "224"}, "size"),
        ({"size": {"shortest_edge": 224}}, "do_center_crop"),
        ({"size": {"shortest_edge": 64}, "do_center_crop": True, "crop_size": [64, 48]}, "crop_size"),
        ({"size": 224, "do_center_crop": True, "crop_size": 256}, "size"),
        ({"size": 224, "do_center_crop": True, "crop_size": [224, 112]}, "size"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_std": "a"}, "image_std"),
        ({"image_mean": [0.5, 0.5, float("nan")]}, "image_mean"),
        ({"rescale_factor": 0}, "rescale_factor"),
        ({"do_resize": "yes"}, "do_resize"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": -1}, "crop_pct"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": [224, 224]}, "size"),
    ],
)
def test_what_cannot_be_said_names_the_file_the_field_and_what_can(entries, field):
    with pytest.raises(ValueError, match=rf"(?s)preprocessor_config.json.*{field}.*(Supported|std must)"):
        spec_of(**entries)


def test_timms_preprocessing():
    entries = {"input_size": [3, 96, 64], "crop_pct": 0.9, "crop_mode": "squash", "interpolation": "bilinear"}
    entries |= {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    expected = Spec((96, 64), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), 0.9, "squash", "bilinear")
    assert timm_spec("config.json", {"pretrained_cfg": entries}) == expected == timm_spec("config.json", entries)
    assert timm_spec("config.json", {}) == Spec((224, 224), *IMAGENET, 0.875)


@pytest.mark.parametrize(
    "entries, word",
    [
        ({"crop_mode": "border"}, "border"),
        ({"interpolation": "random"}, "random"),
        ({"input_size": 224}, "input_size"),
        ({"input_size": [3, 0, 224]}, "input_size"),
        ({"mean": "a"}, "mean"),
        (7, "pretrained_cfg"),
    ],
)
def test_timms_preprocessing_that_cannot_be_said(entries, word):
    with pytest.raises(ValueError, match=f"config.json.*{word}"):
        timm_spec("config.json", {"pretrained_cfg": entries})
