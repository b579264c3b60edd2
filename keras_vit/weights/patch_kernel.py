"""Kernels that project patches, for patches of another size: the pseudo-inverse resize of FlexiViT (arXiv:2212.08013).

A resampler as those of `keras_vit.weights.resample`. Resizing a patch p is linear: B p. The new kernel w' is the one
whose products with resized patches come closest to those of the stored kernel with the patches as they were: of all
that minimise the expected (p.w - (B p).w')^2 the smallest, w' = pinv(B^T) w (Sec. 3.4). Where patches grow,
B has full column rank and nothing is lost: (B p).w' = p.w for every patch.

Note:
    The paper resizes bilinearly; timm and its flexible models bicubically with antialiasing, and so does this.
"""

import numpy as np

from keras_vit.weights.resample import input_channels, interpolation_matrix


def patch_kernel(kernel, shape, size, stored=None):
    """A projection of patches for patches of another size, and for another number of input channels.

    Rows and columns are resized one after the other: B is a Kronecker product, and so is its pseudo-inverse.

    Args:
        kernel: (P, P, I, O), of a convolution whose stride is its size.
        shape: the new one, (P', P', C, O).
        size, stored: not used.

    Returns:
        (P', P', C, O); the kernel itself where that is another convolution.

    Raises:
        ValueError: for patches with a side above MAX_GRID.
    """
    if kernel.ndim != 4 or 0 in kernel.shape or kernel.shape[3] != shape[3]:
        return kernel  # the loader raises an error for the shape
    if kernel.shape[:2] != tuple(shape[:2]):
        rows, columns = (_inverse(old, new) for old, new in zip(kernel.shape, shape[:2]))
        kernel = np.einsum("hi,hwco,wj->ijco", rows, kernel.astype("float64"), columns, optimize=True)
    return input_channels(kernel, shape, size, stored)


def _inverse(old, new):
    """(old, new) pseudo-inverse of the resize of a line of `old` pixels to `new`."""
    return np.linalg.pinv(interpolation_matrix(old, new))
