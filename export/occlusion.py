"""Where a model looked: how much a score falls while one place of the picture after the other is hidden.

Occlusion sensitivity (Zeiler and Fergus, arXiv:1311.2901, Sec. 4.2) asks nothing of a model but its answers: a square
of one colour is moved over the picture, and each copy is classified. Where the score falls, the model looked.
The picture is cut into cells of `stride` pixels, and the square of `patch` pixels is centred on one cell after the
other; at the borders a part of it lies outside.
"""

import numpy as np

CELLS = 8  # along the longer side: at most 64 copies, and the picture itself


def square(size):
    """(patch, stride) in pixels for images of (H, W): at most CELLS cells along a side, under squares twice as wide."""
    stride = -(-max(size) // CELLS)
    return 2 * stride, stride


def occlusion(predict, image, classes, patch, stride, batch=32):
    """How much the probabilities of some classes fall when places of an image are hidden under its mean colour.

    Args:
        predict: images float32 (B, H, W, C) -> probabilities (B, K).
        image: (H, W, C).
        classes: m class numbers.
        patch: side of the square, in pixels.
        stride: side of a cell, in pixels.
        batch: images per call of `predict`, at most.
    Returns: (probabilities (m) of the whole image, their drops (m, ceil(H / stride), ceil(W / stride)); below zero
        where hiding the place makes the class more likely).
    Raises: ValueError for sides below 1 and for classes that the model does not have.
    """
    if patch < 1 or stride < 1:
        raise ValueError(f"patch and stride are pixels, at least 1. Received: patch={patch}, stride={stride}.")
    height, width, _ = image.shape
    rows, columns = -(-height // stride), -(-width // stride)
    whole = np.asarray(predict(image[np.newaxis].astype("float32")))  # 1 K
    known = whole.shape[1]
    if not len(classes) or not all(0 <= number < known for number in classes):
        raise ValueError(f"Classes are numbers from 0 to {known - 1}. Received: {list(classes)}.")
    cells = [(row * stride, column * stride) for row in range(rows) for column in range(columns)]
    batches = (cells[start : start + batch] for start in range(0, len(cells), batch))
    hidden = [np.asarray(predict(_hide(image, corners, patch, stride)))[:, classes] for corners in batches]
    drops = whole[:, classes] - np.concatenate(hidden)  # rows*columns m
    return whole[0, classes], drops.T.reshape(len(classes), rows, columns)


def _hide(image, corners, patch, stride):
    """Copies of an image (B, H, W, C), each with a square over the cell whose upper left corner is given."""
    copies = np.repeat(image[np.newaxis].astype("float32"), len(corners), 0)
    colour, margin = image.mean((0, 1)), (patch - stride) // 2
    for copy, (y, x) in zip(copies, corners):
        top, left = y - margin, x - margin
        copy[max(top, 0) : max(top + patch, 0), max(left, 0) : max(left + patch, 0)] = colour
    return copies
