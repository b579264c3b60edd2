"""Learned and selected tokens, position embeddings, and the way from tokens back to a map.

Letters: B batch, H W grid, N = H * W tokens, C channels.
"""

import keras
from keras import initializers, layers, ops

from keras_vit.layers.initializers import initial_normal


@keras.saving.register_keras_serializable("keras_vit")
class PrependToken(layers.Layer):
    """Puts a learned token before the others, the [class] token of ViT, Eq. 1.  (B, N, C) -> (B, 1 + N, C)."""

    def build(self, shape):
        self.token = self.add_weight((1, 1, shape[-1]), initial_normal(), name="token")

    def call(self, x):
        token = ops.cast(self.token, x.dtype)
        token = ops.broadcast_to(token, (ops.shape(x)[0], 1, x.shape[-1]))  # B 1 C
        return ops.concatenate([token, x], axis=1)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] + 1, shape[2])


@keras.saving.register_keras_serializable("keras_vit")
class PrependTokens(layers.Layer):
    """Puts `count` learned tokens before the others: registers, arXiv:2309.16588.  (B, N, C) -> (B, count + N, C).

    They start close to zero, as the published code starts them.
    """

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def build(self, shape):
        start = initializers.RandomNormal(stddev=1e-6)
        self.tokens = self.add_weight((1, self.count, shape[-1]), start, name="tokens")

    def call(self, x):
        tokens = ops.cast(self.tokens, x.dtype)
        tokens = ops.broadcast_to(tokens, (ops.shape(x)[0], self.count, x.shape[-1]))  # B count C
        return ops.concatenate([tokens, x], axis=1)

    def compute_output_shape(self, shape):
        return (shape[0], self.count + shape[1], shape[2])


@keras.saving.register_keras_serializable("keras_vit")
class PositionEmbedding(layers.Layer):
    """Adds a learned vector per position, E_pos of ViT, Eq. 1.  Shapes: (B, N, C) -> same."""

    def build(self, shape):
        self.table = self.add_weight((1, *shape[1:]), initial_normal(), name="table")

    def call(self, x):
        return x + self.table

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("keras_vit")
class SelectToken(layers.Layer):
    """One token of the sequence, by default the first.  (B, N, C) -> (B, C)."""

    def __init__(self, index=0, **kwargs):
        super().__init__(**kwargs)
        self.index = index

    def call(self, x):
        # TFLite's delegates support slices that keep every axis, not those that drop one.
        return ops.reshape(x[:, self.index : self.index + 1], (-1, x.shape[-1]))

    def compute_output_shape(self, shape):
        return (shape[0], shape[2])


@keras.saving.register_keras_serializable("keras_vit")
class TokensToGrid(layers.Layer):
    """The patch tokens back on their grid, the leading tokens left out.  (B, n + H W, C) -> (B, H, W, C).

    Args:
        height, width: the grid, in patches.
    """

    def __init__(self, height, width, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, x):
        patches = x[:, x.shape[1] - self.height * self.width :]  # B H*W C
        return ops.reshape(patches, (-1, self.height, self.width, x.shape[-1]))

    def compute_output_shape(self, shape):
        return (shape[0], self.height, self.width, shape[2])


# The names under which .keras files hold these layers that were saved before the layers were renamed.
FORMER_NAMES = {"keras_vit>TakeToken": SelectToken, "keras_vit>GridOfTokens": TokensToGrid}
keras.saving.get_custom_objects().update(FORMER_NAMES)
