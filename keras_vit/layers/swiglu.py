"""The gated perceptron of a transformer block -- Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202, Eq. 6."""

import keras
from keras import layers, ops

from keras_vit.layers.activations import silu
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.sizes import sizes


@keras.saving.register_keras_serializable("keras_vit")
class SwiGLU(layers.Layer):
    """fc2(SiLU(g) * v) on the last axis, where g and v are the halves of fc1(x).  Shapes: (..., C) -> same.

    In training the backward pass computes the gated product again; only fc1(x) is kept (see `project_activated`).

    Args:
        hidden_dim: width of g and of v. For as many weights as a two-layer perceptron of ratio r has, 2 r C / 3.
    """

    def __init__(self, hidden_dim, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim

    def build(self, shape):
        dense = {"kernel_initializer": initial_normal(), "dtype": self.dtype_policy}
        self.fc1 = layers.Dense(2 * self.hidden_dim, name="fc1", **dense)
        self.fc2 = layers.Dense(shape[-1], name="fc2", **dense)
        self.fc1.build(shape)
        self.fc2.build((*shape[:-1], self.hidden_dim))

    def call(self, x, training=False):
        tokens = ops.reshape(x, (-1, x.shape[-1]))  # as a matrix, as in `MLP`
        pairs = self.fc1(tokens)
        y = keras.remat(self.project)(pairs) if training else self.project(pairs)
        return ops.reshape(y, (-1, *sizes(x)))

    def project(self, pairs):
        """(N, 2 hidden_dim), gates before values -> (N, C)."""
        gates, values = ops.split(pairs, 2, axis=-1)
        return self.fc2(silu(gates) * values)

    def compute_output_shape(self, shape):
        return shape
