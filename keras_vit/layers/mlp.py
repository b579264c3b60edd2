"""The two-layer perceptron of a transformer block."""

import keras
from keras import layers, ops

from keras_vit.layers.activations import ACTIVATIONS, check_activation
from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.sizes import sizes


def project_activated(x, dense, training=False, activation="gelu"):
    """dense(GELU(x)), with the exact GELU, x * Phi(x), or another of `ACTIVATIONS`.

    In training the backward pass computes GELU again: only x is kept, and neither GELU(x) nor the 1 + erf within it,
    each as large. The product with the dense layer's weights is traced a second time as well, but computed in eager
    mode only: graphs and compilers drop what is not used.
    """

    def project(x):
        return dense(ACTIVATIONS[activation](x))

    return keras.remat(project)(x) if training else project(x)


@keras.saving.register_keras_serializable("keras_vit")
class MLP(layers.Layer):
    """fc2(GELU(fc1(x))) on the last axis (ViT, Sec. 3.1).  Shapes: (..., C) -> same.

    Args:
        hidden_dim: width between the two, mlp_ratio * C in the papers' terms.
        activation: between the two, of `ACTIVATIONS`.

    Note:
        GELU is the exact one, x * Phi(x): every published PyTorch checkpoint was trained with it, and timm measures the
        JAX ones with it too.
    """

    def __init__(self, hidden_dim, activation="gelu", **kwargs):
        super().__init__(**kwargs)
        check_activation(activation)
        self.hidden_dim, self.activation = hidden_dim, activation

    def build(self, shape):
        dense = {"kernel_initializer": initial_normal(), "dtype": self.dtype_policy}
        self.fc1 = layers.Dense(self.hidden_dim, name="fc1", **dense)
        self.fc2 = layers.Dense(shape[-1], name="fc2", **dense)
        self.fc1.build(shape)
        self.fc2.build((*shape[:-1], self.hidden_dim))

    def call(self, x, training=False):
        tokens = ops.reshape(x, (-1, x.shape[-1]))  # as a matrix, TensorFlow computes bias and GELU within the product
        y = project_activated(self.fc1(tokens), self.fc2, training, self.activation)
        return ops.reshape(y, (-1, *sizes(x)))

    def compute_output_shape(self, shape):
        return shape
