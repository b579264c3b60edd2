"""Windows against loops over pixels."""

import numpy as np
import pytest

from keras_vit.layers.windows import window_merge, window_partition


@pytest.mark.parametrize("window", [(2, 3), (4, 6), (1, 1)])
def test_partition_is_row_by_row(window):
    B, H, W, C = 2, 4, 6, 5
    M, L = window
    x = np.random.default_rng(0).standard_normal((B, H, W, C)).astype("float32")
    windows = np.asarray(window_partition(x, window))
    expected = [
        x[b, i : i + M, j : j + L].reshape(M * L, C) for b in range(B) for i in range(0, H, M) for j in range(0, W, L)
    ]
    np.testing.assert_array_equal(windows, expected)


def test_merge_inverts_partition():
    x = np.random.default_rng(0).standard_normal((2, 6, 8, 3)).astype("float32")
    np.testing.assert_array_equal(window_merge(window_partition(x, (3, 2)), (3, 2), 6, 8), x)
