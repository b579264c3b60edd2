"""Images of sizes that a model would cut are refused or padded."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.layers.image_size import ImageSize

ANY = tf.TensorSpec([None, None, None, 3])


def image(height, width):
    return np.ones((1, height, width, 3), "float32")


def in_a_graph(layer):
    return tf.function(lambda x: layer(x), input_signature=[ANY], autograph=False)


def test_images_are_padded_at_the_bottom_and_the_right_with_zeros():
    layer = ImageSize("ViT", 4, 1, pad=True)
    for run in (layer, in_a_graph(layer)):
        out = np.asarray(run(image(5, 8)))
        np.testing.assert_array_equal(out, np.pad(image(5, 8), ((0, 0), (0, 3), (0, 0), (0, 0))))
    assert layer.compute_output_shape((None, 5, None, 3)) == (None, 8, None, 3)


@pytest.mark.parametrize(
    "size, layer, words",
    [
        ((6, 8), ImageSize("ViT", 4, 1), "ViT: .*multiples of 4, the smallest 4 x 4 .*dynamic_img_pad=True"),
        ((0, 8), ImageSize("ViT", 4, 1), "the smallest 4 x 4 pixels"),
        ((31, 40), ImageSize("ConvNeXt", 1, 32), "ConvNeXt: expected images of at least 32 x 32 pixels"),
        ((0, 8), ImageSize("ViT", 4, 1, pad=True), "at least 1 x 1 pixels"),
    ],
)
def test_other_sizes_are_named(size, layer, words):
    with pytest.raises(ValueError, match=f"{words}.*Received: {size[0]} x {size[1]}"):
        layer.check(*size)
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        in_a_graph(layer)(image(*size))


def test_the_size_that_tables_are_kept_for_is_in_the_configuration():
    layer = ImageSize.from_config(ImageSize("ViT", 4, 1, native_size=[8, 12]).get_config())
    assert layer.native_size == (8, 12)
