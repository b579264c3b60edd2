"""The activations by their formulas, and which names there are."""

import math

import numpy as np
import pytest
from keras import ops

from keras_vit.layers.activations import ACTIVATIONS, check_activation

X = np.linspace(-6, 6, 41)
PHI = np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in X])
SIGMOID = 1 / (1 + np.exp(-X))
FORMULAS = {
    "gelu": X * PHI,
    "gelu_tanh": 0.5 * X * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
    "quick_gelu": X / (1 + np.exp(-1.702 * X)),
    "relu": X.clip(0),
    "relu6": X.clip(0, 6),
    "leaky_relu": np.where(X < 0, 0.01 * X, X),
    "silu": X * SIGMOID,
    "mish": X * np.tanh(np.log1p(np.exp(X))),
    "selu": 1.0507009873554805 * np.where(X < 0, 1.6732632423543772 * np.expm1(X), X),
    "elu": np.where(X < 0, np.expm1(X), X),
    "tanh": np.tanh(X),
    "sigmoid": SIGMOID,
    "linear": X,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name):
    found = ops.convert_to_numpy(ACTIVATIONS[name](X.astype("float32")))
    np.testing.assert_allclose(found, FORMULAS[name], rtol=2e-6, atol=2e-6)


def test_an_unknown_name_lists_the_known_ones():
    check_activation("gelu")
    with pytest.raises(ValueError, match="quick_gelu.*Received: activation='hardswish'"):
        check_activation("hardswish")
