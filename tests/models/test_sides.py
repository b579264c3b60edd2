"""What a family says of the sizes of images."""

import keras
import pytest

from keras_vit.models.sides import Sides, checked_native_size, resolve_shape


def test_sizes_are_rounded_up_to_what_a_family_takes():
    assert Sides(16).rounded((17, 32)) == (32, 32)
    assert Sides(1, smallest=32).rounded((8, 40)) == (32, 40)


def test_padding_may_go_to_another_multiple():
    assert Sides(1, smallest=32, padded_to=32).layer("ConvNeXt", pad=True).multiple == 32
    assert Sides(1, smallest=32, padded_to=32).layer("ConvNeXt", pad=False).multiple == 1


def test_the_shape_is_the_argument_the_tensors_or_the_weights():
    tensor = keras.Input((100, 100, 3))
    assert resolve_shape(None, None, (224, 192)) == (224, 192, 3)
    assert resolve_shape(None, tensor, (224, 224)) == (100, 100, 3)
    assert resolve_shape((None, None, 1), None, (224, 224)) == (None, None, 1)


@pytest.mark.parametrize("shape", [(None, 224, 3), (224, None, 3), (None, None, None), (0, 224, 3), (224, 3)])
def test_shapes_that_are_half_known_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(None, None, channels\) for images of any size"):
        resolve_shape(shape, None, (224, 224))


@pytest.mark.parametrize("size", [224, (224,), (224, 0), (None, None)])
def test_a_native_size_is_two_numbers_of_a_model_of_any_size(size):
    with pytest.raises(ValueError, match="native_size: expected"):
        checked_native_size(size, any_size=True)
    with pytest.raises(ValueError, match="native_size: is for models of any size"):
        checked_native_size((224, 224), any_size=False)
