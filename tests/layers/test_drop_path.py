"""Stochastic depth by its definition."""

import numpy as np
import pytest

from keras_vit.layers import drop_path, drop_path_rates


@pytest.mark.parametrize("shape", [(400, 3, 2), (400, 2, 3, 2)])
def test_whole_samples_are_dropped_and_the_rest_rescaled(shape):
    layer = drop_path(0.25, rank=len(shape))
    kept = np.asarray(layer(np.ones(shape, "float32"), training=True)).reshape(400, -1)
    values = np.unique(kept)
    np.testing.assert_allclose(values, [0, 4 / 3], rtol=1e-6)
    assert (kept == kept[:, :1]).all()
    assert abs((kept[:, 0] > 0).mean() - 0.75) < 0.08


def test_nothing_happens_at_inference():
    x = np.ones((4, 3, 2), "float32")
    np.testing.assert_array_equal(drop_path(0.9, rank=3)(x, training=False), x)


def test_rates_rise_linearly():
    assert drop_path_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0]
