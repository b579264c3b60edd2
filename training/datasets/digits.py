"""The embedded data set: 1,797 handwritten digits, scanned from forms and reduced to 8 x 8 pixels.

Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998; the copy that scikit-learn carries.
"""

import io

import numpy as np

from keras_vit.training.datasets.splits import DataSet, Split, stratified_split

TRAIN, VALIDATION, TEST = 1257, 180, 360
SPLIT_SEED = 20240229  # one division for all runs, whatever their own seed


def load():
    """The digits as PNG images (8 x 8, RGB) in memory; a fixed division, stratified by class."""
    from sklearn import datasets

    scans = datasets.load_digits()
    labels = scans.target.astype("int32")
    encoded = tuple(_png(scan) for scan in scans.images)
    test, rest = stratified_split(labels, (TEST, TRAIN + VALIDATION), SPLIT_SEED)
    validation, train = stratified_split(labels[rest], (VALIDATION, TRAIN), SPLIT_SEED)
    whole = Split(tuple(f"{c}/{i:04d}.png" for i, c in enumerate(labels)), labels, encoded)
    classes = tuple(str(digit) for digit in range(10))
    return DataSet("digits", classes, *map(whole.take, (rest[train], rest[validation], test)))


def _png(scan):
    """A scan with values 0 to 16 as the bytes of an RGB PNG."""
    from PIL import Image

    levels = np.round(scan * (255 / 16)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(np.repeat(levels[..., None], 3, axis=-1)).save(file, "PNG")
    return file.getvalue()
