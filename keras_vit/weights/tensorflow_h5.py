"""tf_model.h5: the weights of transformers' TensorFlow classes, which left that library in its version 5.

The file is Keras 2's, a group for each layer of the model, in it the layer's variables by the names that they had in
TensorFlow:

    vit/tf_vi_t_for_image_classification/vit/encoder/layer_._0/attention/output/dense/kernel:0

`read` gives them the names and shapes that the same model has in PyTorch:

    vit.encoder.layer.0.attention.output.dense.weight

h5py is all it takes; neither TensorFlow nor transformers is needed.
"""

import functools

from keras_vit.weights import keras_file
from keras_vit.weights.entries import Entries, Entry, WeightFileError, reading

CLASSES = "tf_"  # how TensorFlow's scopes of these models begin: TFViTModel is tf_vi_t_model
PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias"}


def is_tensorflow(path):
    """Whether a file is HDF5 with the variables of a TensorFlow model of transformers, by its content."""
    import h5py

    with open(path, "rb") as file:
        if file.read(len(keras_file.HDF5)) != keras_file.HDF5:
            return False
    try:
        with h5py.File(path) as file:
            groups = [file[name] for name in file if isinstance(file.get(name), h5py.Group)]
            return "layer_names" in file.attrs and any(name.startswith(CLASSES) for g in groups for name in g)
    except Exception:  # h5py has errors of many kinds; who reads the file names them
        return False


def read(path):
    """The arrays of a tf_model.h5 as `Entries`, with the names and shapes that they have in PyTorch.

    Raises:
        ValueError: for a damaged file, one that declares more than it holds, and two variables of one name.
    """
    import h5py

    keras_file.check_sizes(path)
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            own = torch_name(name)
            if own in found:
                raise WeightFileError(f"{path}: {own} occurs twice, as {name} and as {found[own][0]}.")
            found[own] = (name, tuple(item.shape))

    with reading(path, "a tf_model.h5 of transformers"), h5py.File(path) as file:
        file.visititems(visit)
    entries = {
        own: Entry(_torch_shape(name, shape), functools.partial(_load, path, name))
        for own, (name, shape) in found.items()
    }
    return Entries(path, entries)


def torch_name(name):
    """PyTorch's name of a variable, given its path in the file."""
    layer, *scopes = name.split("/")
    if layer in scopes:  # before it stands the model's own name
        scopes = scopes[scopes.index(layer) + 1 :]
    *scopes, part = [layer, *scopes]
    part = part.partition(":")[0]
    return ".".join([*scopes, PARTS.get(part, part)]).replace("_._", ".")


def _torch_shape(name, shape):
    return tuple(shape[axis] for axis in _axes(name, len(shape)))


def _axes(name, rank):
    """Where PyTorch has each axis of a variable: (in, out) is (out, in) there, (h, w, in, out) is (out, in, h, w)."""
    is_kernel = name.rpartition("/")[2].startswith("kernel:")
    return {2: (1, 0), 4: (3, 2, 0, 1)}.get(rank, tuple(range(rank))) if is_kernel else tuple(range(rank))


def _load(path, name):
    import h5py

    with h5py.File(path) as file:
        array = file[name][()]
    return array.transpose(_axes(name, array.ndim))
