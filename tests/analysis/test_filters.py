"""Principal components of filters, by algebra."""

import keras
import numpy as np
import pytest

from keras_vit.analysis import patch_filters
from tests.models.cases import one_per_paper, params
from tests.models.toys import TOYS

SIDES = {"hybrid": 7, "hybrid_stem": 7, "swin": 4, "convnext": 4, "convnext_isotropic": 16, "coat": 4, "coat_lite": 4}
SIDES |= {"tnt": 7, "tnt_legacy": 7, "pvt": 4, "pvt_v2": 7, "pvt_v2_linear": 7}
SIDES |= {"t2t": 7, "t2t_transformer": 7, "t2t_se": 7, "t2t_ghost": 7, "t2t_dense": 7}


def toy(name):
    variant, shape = TOYS[name]
    return variant(weights=None, input_shape=shape, classes=5)


def stem(kernel):
    image = keras.Input((8, 8, kernel.shape[2]))
    layer = keras.layers.Conv2D(kernel.shape[-1], kernel.shape[:2], use_bias=False)
    model = keras.Model(image, layer(keras.layers.Rescaling(1 / 255)(image)))
    layer.set_weights([kernel])
    return model


@pytest.mark.parametrize("name", params(one_per_paper(), TOYS))
def test_every_family_has_filters_on_the_image(name):
    filters = patch_filters(toy(name))
    side = SIDES.get(name, 8)
    assert filters.shape[1:] == (side, side, 3) and filters.dtype == "float32"
    rows = filters.reshape(len(filters), -1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-5)


def test_filters_of_rank_one_have_one_component():
    rng = np.random.default_rng(0)
    pattern = rng.normal(size=(4, 4, 3))
    pattern /= np.linalg.norm(pattern)
    (found,) = patch_filters(stem((pattern[..., None] * rng.normal(size=9)).astype("float32")))
    pattern *= np.sign(pattern.ravel()[np.abs(pattern).argmax()])
    np.testing.assert_allclose(found, pattern, atol=1e-5)


def test_components_come_by_variance_and_the_mean_is_no_component():
    patterns = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 4)))[0].T.reshape(4, 2, 2, 3)
    wide, narrow, absent, mean = patterns
    signs = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
    filters = [5 * a * wide + 2 * b * narrow + 9 * mean for a, b in signs]
    found = patch_filters(stem(np.stack(filters, axis=-1).astype("float32")))
    assert len(found) == 2
    for component, pattern in zip(found, (wide, narrow)):
        assert abs(abs((component * pattern).sum()) - 1) < 1e-5
    assert len(patch_filters(stem(np.stack(filters, axis=-1).astype("float32")), components=1)) == 1


def test_hybrids_are_read_as_they_run():
    """A kernel's size and mean do not matter to a standardised convolution."""
    model = toy("hybrid")
    before, kernel = patch_filters(model, 5), model.get_layer("stem_conv").kernel
    kernel.assign(3 * kernel + 1)
    np.testing.assert_allclose(patch_filters(model, 5), before, atol=1e-3)


def test_the_norm_before_the_first_projection_of_t2t_counts():
    model = toy("t2t")
    gamma = np.zeros((7, 7, 3), "float32")
    gamma[2, 3, 1] = 1
    model.get_layer("tokens1").norm1.gamma.assign(gamma.ravel())
    (found,) = patch_filters(model)
    np.testing.assert_allclose(found, gamma, atol=1e-6)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="begins with 'first' .Dense"):
        patch_filters(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Dense(2, name="first")]))
    with pytest.raises(ValueError, match="components: expected at least 1"):
        patch_filters(toy("vit"), components=0)
