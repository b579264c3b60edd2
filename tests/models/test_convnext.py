"""ConvNeXt's block against its figure; what distinguishes its models."""

import keras
import numpy as np
import pytest

from keras_vit.models import convnext
from keras_vit.system.keras_private import all_layers


def test_block_is_the_figure():
    block = convnext.ConvNeXtBlock()
    x = np.random.default_rng(0).standard_normal((1, 9, 8, 4)).astype("float32")
    block.build(x.shape)
    block.scale.gamma.assign(np.arange(1.0, 5.0))
    kernel = np.asarray(block.dwconv.kernel)[..., 0]
    padded = np.pad(x[0], ((3, 3), (3, 3), (0, 0)))
    conv = np.array([[(padded[i : i + 7, j : j + 7] * kernel).sum((0, 1)) for j in range(8)] for i in range(9)])
    normed = (conv - conv.mean(-1, keepdims=True)) / np.sqrt(conv.var(-1, keepdims=True) + 1e-6)
    hidden = keras.activations.gelu(normed.astype("float32") @ np.asarray(block.mlp.fc1.kernel), approximate=False)
    branch = np.asarray(hidden) @ np.asarray(block.mlp.fc2.kernel)
    np.testing.assert_allclose(block(x)[0], x[0] + np.arange(1, 5) * branch, atol=2e-4)


def test_epsilons_are_the_published_ones():
    model = convnext.ConvNeXtAtto(weights=None)
    norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.LayerNormalization)]
    assert len(norms) == 1 + 3 + 12 + 1 and {norm.epsilon for norm in norms} == {1e-6}


def test_pools_before_it_normalises():
    names = [layer.name for layer in convnext.ConvNeXtAtto(weights=None).layers]
    assert names[-3:] == ["pool", "norm", "head"]


@pytest.mark.parametrize("gamma", [True, False])
def test_layer_scale_of_isotropic_models_follows_the_file(gamma):
    entries = {"blocks.0.gamma": np.ones(3)} if gamma else {"blocks.0.norm.weight": np.ones(3)}
    config = convnext.configure_isotropic(convnext.IsotropicConfig(2, 3, not gamma), entries, 1000)
    assert config.layer_scale is gamma


@pytest.mark.parametrize("size, message", [((31, 64, 3), "at least 32 x 32"), ((64, 20, 3), "at least 32 x 32")])
def test_too_small(size, message):
    with pytest.raises(ValueError, match=message):
        convnext.ConvNeXtT(weights=None, input_shape=size)


def test_sides_that_do_not_divide_lose_their_remainder():
    model = convnext.ConvNeXtAtto(weights=None, input_shape=(225, 263, 3), include_top=False)
    assert model.output_shape == (None, 7, 8, 320)
