"""Learned and selected tokens, position embeddings, and the way from tokens back to a map.

Letters: B batch, H W grid, N = H * W tokens, C channels.
"""

import contextlib
import contextvars

import keras
from keras import initializers, layers, ops

from keras_vit.layers.initializers import initial_normal
from keras_vit.layers.resampling import resample
from keras_vit.layers.sizes import derived, equal, sizes

_NATIVE_SIZE = contextvars.ContextVar("keras_vit_native_size", default=None)


@contextlib.contextmanager
def native_size(size):
    """Inside, models of any size are built whose tables of positions are kept for images of this (H, W) in pixels."""
    token = _NATIVE_SIZE.set(size)
    try:
        yield
    finally:
        _NATIVE_SIZE.reset(token)


def native_grid(patch_size):
    """(H, W), in patches of so many pixels, of images of the native size; None where all sizes are known."""
    size = _NATIVE_SIZE.get()
    return size and (size[0] // patch_size, size[1] // patch_size)


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
        return (shape[0], derived(lambda n: n + 1, shape[1]), shape[2])


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
        return (shape[0], derived(lambda n: n + self.count, shape[1]), shape[2])


@keras.saving.register_keras_serializable("keras_vit")
class PositionEmbedding(layers.Layer):
    """Adds a learned vector per position, E_pos of ViT, Eq. 1; on another grid than the table's, the table resampled.

    Args:
        leading: tokens of a sequence before the patches, each with a position of its own.
        grid: (H, W) of the table, in patches; by default that of the images that it is built for.
        kernel, antialias, offset: how the table is resampled, see `keras_vit.weights.resample.interpolation_matrix`.
    Input:   (B, leading + H W, C) or (B, H, W, C), and the map of the patches, of which the size alone is read;
        without it the input always has the table's size.
    Output:  as the first input.
    """

    def __init__(self, leading=0, grid=None, kernel="bicubic", antialias=True, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.leading, self.grid = leading, grid and tuple(grid)
        self.kernel, self.antialias, self.offset = kernel, antialias, offset

    def build(self, x_shape, patches_shape=None):
        shape = (1, *x_shape[1:])
        if patches_shape is not None:
            self.grid = H, W = self.grid or tuple(patches_shape[1:3])
            if None in self.grid:
                raise ValueError(f"{self.name}: for images of any size, expected grid=(height, width) of the table")
            shape = (1, H, W, x_shape[-1]) if len(x_shape) == 4 else (1, self.leading + H * W, x_shape[-1])
        self.table = self.make_table(shape)

    def make_table(self, shape):
        """The weight of the layer."""
        return self.add_weight(shape, initial_normal(), name="table", autocast=False)

    def follow(self, resampler):
        """Resample as the files do that the table came from, a `keras_vit.weights.resample.Positions`."""
        self.kernel, self.antialias, self.offset = resampler.kernel, resampler.antialias, resampler.offset

    def call(self, x, patches=None):
        table = self.table if patches is None else self.table_on(sizes(patches)[:2])
        return x + ops.cast(table, x.dtype)

    def table_on(self, grid):
        """The table on a grid (H, W) of numbers or scalar tensors."""
        if equal(grid, self.grid):
            return self.table
        table = ops.convert_to_tensor(self.table)
        C = table.shape[-1]
        patches = ops.reshape(table[:, self.leading :] if len(table.shape) == 3 else table, (*self.grid, C))
        moved = resample(patches, grid, self.kernel, self.antialias, self.offset)  # H W C
        if len(table.shape) == 4:
            return ops.expand_dims(moved, 0)
        moved = ops.reshape(moved, (1, -1, C))
        return ops.concatenate([table[:, : self.leading], moved], axis=1) if self.leading else moved

    def compute_output_shape(self, x_shape, patches_shape=None):
        return x_shape

    def get_config(self):
        names = ("leading", "grid", "kernel", "antialias", "offset")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


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
    """The patch tokens back on their grid, the leading tokens left out.

    Args:
        height, width: the grid, in patches; None where the map of the patches says it.
    Input:   (B, n + H W, C) and, without height and width, the map of the patches, of which the size alone is read.
    Output:  (B, H, W, C).
    """

    def __init__(self, height=None, width=None, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, x, patches=None):
        H, W = (self.height, self.width) if patches is None else sizes(patches)[:2]
        N, C = sizes(x)
        return ops.reshape(x[:, N - H * W :], (-1, H, W, C))

    def compute_output_shape(self, x_shape, patches_shape=None):
        grid = (self.height, self.width) if patches_shape is None else patches_shape[1:3]
        return (x_shape[0], *grid, x_shape[2])


# The names under which .keras files hold these layers that were saved before the layers were renamed.
FORMER_NAMES = {"keras_vit>TakeToken": SelectToken, "keras_vit>GridOfTokens": TokensToGrid}
keras.saving.get_custom_objects().update(FORMER_NAMES)
