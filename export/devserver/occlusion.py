"""Occlusion sensitivity: how much a class's score falls while a region of the image is hidden.

Zeiler and Fergus, arXiv:1311.2901, Sec. 4.2. It needs a model's outputs only: a square of one colour is moved over the
image, and every copy is classified. The model relies on the regions whose occlusion lowers the score.
The image is divided into cells of `stride` pixels, and the square of `patch` pixels is centred on each; at the borders
it extends beyond the image.
"""

import numpy as np

CELLS = 8  # along the longer side: at most 64 copies, and the image itself


def square(size):
    """(patch, stride) in pixels for images of (H, W): at most CELLS cells per side, squares twice as wide as a cell."""
    stride = -(-max(size) // CELLS)
    return 2 * stride, stride


def occlusion(predict, image, classes, patch, stride, batch=32):
    """How much the probabilities of classes fall while regions of an image are replaced by its mean colour.

    Args:
        predict: images float32 (B, H, W, C) -> probabilities (B, K).
        image: (H, W, C).
        classes: m class numbers.
        patch: side of the square, in pixels.
        stride: side of a cell, in pixels.
        batch: images per call of `predict`, at most.

    Returns:
        (probabilities (m) of the whole image, their drops (m, ceil(H / stride), ceil(W / stride))). A drop is negative
        where the class becomes more probable.

    Raises:
        ValueError: for sides below 1 and for classes that the model does not have.
    """
    if patch < 1 or stride < 1:
        raise ValueError(f"patch and stride are pixels, at least 1. Received: patch={patch}, stride={stride}.")
    height, width, _ = image.shape
    rows, columns = -(-height // stride), -(-width // stride)
    whole = np.asarray(predict(image[np.newaxis].astype("float32")))  # 1 K
    count = whole.shape[1]
    if not len(classes) or not all(0 <= number < count for number in classes):
        raise ValueError(f"Classes are numbers from 0 to {count - 1}. Received: {list(classes)}.")
    cells = [(row * stride, column * stride) for row in range(rows) for column in range(columns)]
    batches = (cells[start : start + batch] for start in range(0, len(cells), batch))
    hidden = [np.asarray(predict(_hide(image, corners, patch, stride)))[:, classes] for corners in batches]
    drops = whole[:, classes] - np.concatenate(hidden)  # rows*columns m
    return whole[0, classes], drops.T.reshape(len(classes), rows, columns)


def _hide(image, corners, patch, stride):
    """Copies of an image (B, H, W, C), each with a square over the cell with one of the upper left corners."""
    copies = np.repeat(image[np.newaxis].astype("float32"), len(corners), 0)
    colour, margin = image.mean((0, 1)), (patch - stride) // 2
    for copy, (y, x) in zip(copies, corners):
        top, left = y - margin, x - margin
        copy[max(top, 0) : max(top + patch, 0), max(left, 0) : max(left + patch, 0)] = colour
    return copies
