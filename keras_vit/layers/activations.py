"""The activations between the layers of a block, by name, on every backend.

The published weights of this library have the exact GELU throughout; the others occur in configurations of other
libraries, whose names for them `keras_vit.models.library_config` knows.
"""

from keras import ops


def quick_gelu(x):
    """x * sigmoid(1.702 x), the sigmoid approximation of GELU (arXiv:1606.08415, Sec. 2)."""
    return x * ops.sigmoid(1.702 * x)


def silu(x):
    """x * sigmoid(x). TensorFlow's own function has a gradient of its own, which no TFLite file can be made with."""
    return x * ops.sigmoid(x)


ACTIVATIONS = {
    "gelu": lambda x: ops.gelu(x, approximate=False),
    "gelu_tanh": lambda x: ops.gelu(x, approximate=True),
    "quick_gelu": quick_gelu,
    "relu": ops.relu,
    "relu6": ops.relu6,
    "leaky_relu": lambda x: ops.leaky_relu(x, negative_slope=0.01),
    "silu": silu,
    "mish": lambda x: x * ops.tanh(ops.softplus(x)),
    "selu": ops.selu,
    "elu": ops.elu,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "linear": lambda x: x,
}


def check_activation(name):
    """Raise unless `name` is one of ACTIVATIONS.

    Raises:
        ValueError: with all of them.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}. Received: activation={name!r}")
