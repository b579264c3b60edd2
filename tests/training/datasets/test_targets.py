"""Which feature of a builder holds the classes; test_tfds.py reads them."""

from types import SimpleNamespace

import numpy as np
import pytest
from tensorflow_datasets.core import features as of

from keras_vit.training.datasets.targets import FORMS, Target, features

IMAGE, ONE = of.Image(), of.ClassLabel(names=["a", "b"])
SEVERAL, HOT = of.Sequence(of.ClassLabel(names=["a", "b"])), of.Tensor(shape=(4,), dtype=np.int64)
FLAGS = {"x": np.bool_, "y": np.bool_}


def info(supervised=None, **found):
    return SimpleNamespace(features=of.FeaturesDict(found), supervised_keys=supervised, full_name="toy/1.0.0")


@pytest.mark.parametrize(
    "feature, form, classes",
    [
        (ONE, FORMS[0], ("a", "b")),
        (SEVERAL, FORMS[1], ("a", "b")),
        (HOT, FORMS[2], ("0", "1", "2", "3")),
        (FLAGS, FORMS[3], ("x", "y")),
    ],
)
def test_every_form_of_classes_is_known(feature, form, classes):
    image, target = features(info(photo=IMAGE, what=feature, size=of.Scalar(np.int64)))
    assert image == "photo" and target == Target("what", form, classes)
    assert target.several == (form != "ClassLabel") and target.dtype == ("uint8" if target.several else "int32")


def test_one_class_per_image_goes_before_several_and_what_is_supervised_before_both():
    both = {"image": IMAGE, "label": ONE, "labels": SEVERAL}
    assert features(info(**both))[1].name == "label"
    assert features(info(("image", "labels"), **both))[1].name == "labels"
    assert features(info(("image", "labels"), **both), "label")[1].name == "label"


@pytest.mark.parametrize(
    "found, key, message",
    [
        ({"image": IMAGE, "p": SEVERAL, "q": HOT}, None, "Choose by target_key: p, q"),
        ({"image": IMAGE, "label": ONE}, "labels", "Received: target_key='labels'; possible: label"),
        ({"image": IMAGE, "other": IMAGE, "label": ONE}, None, "one image .* image: Image, other: Image, label"),
        ({"image": IMAGE, "v": of.Tensor(shape=(4,), dtype=np.float32)}, None, "v: Tensor"),
        ({"image": IMAGE, "d": {"x": np.bool_, "n": np.int64}}, None, "d: FeaturesDict"),
        ({"image": IMAGE, "boxes": of.Sequence({"label": ONE, "box": of.BBoxFeature()})}, None, "boxes: Sequence"),
    ],
)
def test_what_is_not_clear_is_an_error_that_lists_the_features(found, key, message):
    with pytest.raises(ValueError, match=message):
        features(info(**found), key)


def test_classes_that_there_are_not_are_invalid():
    one, several = Target("what", FORMS[0], ("a", "b")), Target("what", FORMS[2], ("a", "b"))
    assert one.are_invalid(np.array([0, 2, -1, 1])).tolist() == [False, True, True, False]
    assert several.are_invalid(np.uint8([[0, 1], [255, 255], [0, 0]])).tolist() == [False, True, False]
