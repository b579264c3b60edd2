"""Small weight files of a toy in every format, and what is odd in the shapes of state dicts."""

import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save_file

from tests.models.toys import TOYS
from tests.weights.test_torch_file import legacy_file, storage, table, tensor, zip_file

FAMILY = "vit"
CLASSES = 5
GIB = 2**30


@functools.cache
def toy(family=FAMILY):
    """(a toy model of a family, the family)."""
    variant, shape = TOYS[family]
    return variant(weights=None, input_shape=shape, classes=CLASSES), variant.family


def arrays(family=FAMILY):
    """The arrays of a toy model by the paths of its variables."""
    return {v.path: keras.ops.convert_to_numpy(v) for v in toy(family)[0].weights}


def torch_tree(numbers):
    """(a pickled state dict, its storages) of arrays by name."""
    tree, storages = {}, {}
    for index, (key, array) in enumerate(numbers.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        tree[key] = tensor(storage(str(index), array.size), 0, array.shape, strides)
        storages[str(index)] = array.tobytes()
    return table(**tree), storages


# Valid ---------------------------------------------------------------------------------------------------------------


@functools.cache
def contents():
    """{name: bytes} of a toy's weights in every format."""
    numbers = arrays()
    tree, storages = torch_tree(numbers)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        zip_file(folder / "zip.pth", tree, storages)
        legacy_file(folder / "legacy.pth", tree, storages)
        save_file(numbers, folder / "plain.safetensors")
        np.savez(folder / "plain.npz", **numbers)
        np.savez_compressed(folder / "packed.npz", **numbers)
        toy()[0].save_weights(folder / "plain.weights.h5")
        toy()[0].save(folder / "plain.keras")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


ODD = (0, 1, 2, 4, 5, 2**10, 2**20)  # sizes of an axis
TABLES = {  # what is resampled: family -> variables
    "vit": ("positions/table", "patch_embed/kernel", "head/bias"),
    "deit_distilled": ("positions/table",),
    "deit3": ("positions/table",),
    "hybrid": ("positions/table",),
    "swin": ("stage0_block0/attn/bias_table", "patch_embed/kernel"),
    "pvt": ("stage0_positions/table", "stage1_positions/table", "stage0_patch_embed/kernel"),
    "tnt": ("positions/table", "pixel_embed/proj/kernel"),
    "t2t": ("positions/table", "tokens1/norm1/gamma", "tokens1/kqv/kernel"),
    "t2t_transformer": ("tokens1/qkv/kernel",),
    "coat": ("stage0_patch_embed/kernel",),
    "convnext": ("stem/kernel",),
}
