import dataclasses

import pytest

from keras_vit.export.parity.images import NOISE, images_to_compare_on, noise_images, read_image
from keras_vit.preprocessing import Spec


def test_given_images_come_before_those_of_the_run_and_noise_last(toy_source, tmp_path):
    given = [("a.png", None), ("b.png", 1), ("c.png", None)]
    assert images_to_compare_on(toy_source, given, 10, tmp_path) == ("given", given)
    kind, found = images_to_compare_on(toy_source, (), 3, tmp_path)
    assert kind == "test" and found == [toy_source.images[i] for i in (0, 5, 11)]


def test_noise_is_the_same_every_time(toy_source, tmp_path):
    kind, found = images_to_compare_on(dataclasses.replace(toy_source, images=()), (), 100, tmp_path)
    assert kind == "noise" and len(found) == NOISE
    before = [path.read_bytes() for path, _ in found]
    assert [path.read_bytes() for path, _ in noise_images(tmp_path)] == before
    assert len(set(before)) == NOISE


def test_no_images_are_refused(toy_source, tmp_path):
    with pytest.raises(ValueError, match="max_images=0"):
        images_to_compare_on(toy_source, (), 0, tmp_path)


def test_a_file_that_is_no_image_is_named():
    with pytest.raises(ValueError, match="letter.txt"):
        read_image("letter.txt", b"Dear reader", Spec((4, 4), (0.5,) * 3, (0.5,) * 3))
