"""Checkpoint files as training scripts write them: containers, number formats, and what stands around the weights.

Nothing here needs PyTorch: its files are written opcode by opcode, safetensors' bfloat16 byte by byte.
"""

import json

import numpy as np

from tests.weights.test_torch_file import legacy_file, storage, table, tensor, zip_file

TYPES = ("float32", "float16", "bfloat16", "float64")
SAFETENSORS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float64": "DoubleStorage",
}


def rounded(array, kind):
    """The float32 numbers that are left of an array in a number format."""
    if kind == "bfloat16":
        return (np.ascontiguousarray(array, "float32").view("uint32") & 0xFFFF0000).view("float32")
    return array.astype(kind).astype("float32")


def stored(array, kind):
    """(the array as a file has it, its format): bfloat16 as its bits."""
    if kind == "bfloat16":
        return (np.ascontiguousarray(array, "float32").view("uint32") >> 16).astype("<u2"), kind
    return np.asarray(array, kind, order="C"), kind


def flat(tree, start=""):
    """{name: array} of dictionaries in each other, joined by dots."""
    found = {}
    for key, item in tree.items():
        found |= flat(item, f"{start}{key}.") if isinstance(item, dict) else {start + key: item}
    return found


def write_safetensors(path, tree, kind):
    header, data = {}, b""
    for name, array in flat(tree).items():
        numbers, of = stored(array, kind)
        content = numbers.tobytes()
        place = [len(data), len(data) + len(content)]
        header[name] = {"dtype": SAFETENSORS[of], "shape": list(array.shape), "data_offsets": place}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_npz(path, tree, kind):
    found = {name: stored(array, kind) for name, array in flat(tree).items()}
    arrays = {name: array.view("V2") if of == "bfloat16" else array for name, (array, of) in found.items()}
    with open(path, "wb") as file:  # np.savez gives every other suffix an .npz
        np.savez(file, **arrays)


def write_torch(path, tree, kind, legacy=False):
    storages, sizes = {}, {}

    def pickled(items):
        lines = {}
        for key, item in items.items():
            if isinstance(item, dict):
                lines[key] = pickled(item)
                continue
            (numbers, of), index = stored(item, kind), str(len(storages))
            strides = tuple(stride // numbers.itemsize for stride in numbers.strides)
            lines[key] = tensor(storage(index, numbers.size, STORAGES[of]), 0, numbers.shape, strides)
            storages[index], sizes[index] = numbers.tobytes(), numbers.itemsize
        return table(**lines)

    content = pickled(tree)
    if legacy:
        legacy_file(path, content, storages, itemsize=max(sizes.values()))
    else:
        zip_file(path, content, storages)


CONTAINERS = {  # suffix: what writes the file
    ".pth": write_torch,
    ".ckpt": write_torch,
    ".bin": write_torch,
    ".pth.tar": lambda path, tree, kind: write_torch(path, tree, kind, legacy=True),
    ".safetensors": write_safetensors,
    ".npz": write_npz,
}


def prefixed(prefix, entries):
    """The entries with a prefix on every name."""
    return {f"{prefix}{name}": array for name, array in entries.items()}


def body_and_head(entries):
    """The entries of a backbone, and those of its classifier without their prefix."""
    head = {name.removeprefix("head."): array for name, array in entries.items() if name.startswith("head.")}
    return {name: array for name, array in entries.items() if not name.startswith("head.")}, head


def optimizer(entries):
    """What an optimizer keeps: numbers of the weights' shapes under the weights' names."""
    return {"exp_avg": {name: array * 0 for name, array in entries.items()}}


def wrapped():
    """{kind: function of (right entries, wrong entries) -> the tree of a file from which the right ones are read}."""
    made = {"nothing": lambda w, _: w}
    names = "module. _orig_mod. model. backbone. encoder. net. vit. my_network. module._orig_mod. model.module.net."
    for prefix in [*names.split(), "module.model.backbone.encoder."]:
        made[prefix] = lambda w, _, prefix=prefix: prefixed(prefix, w)
    for key in "state_dict model model_state_dict net weights module student teacher anything".split():
        made[f"{{{key}}}"] = lambda w, _, key=key: {key: w}
    for average in "model_ema state_dict_ema ema model_ema_state_dict".split():
        made[f"{{model, {average}}}"] = lambda w, other, average=average: {"model": other, average: w}
    nested = {
        "{state_dict: module.}": lambda w, _: {"state_dict": prefixed("module.", w)},
        "{model: {state_dict: model.}}": lambda w, _: {"model": {"state_dict": prefixed("model.", w)}},
        "{model, optimizer}": lambda w, _: {"model": w, "optimizer": optimizer(w)},
        "{state_dict: model. and ema_model.}": lambda w, other: {
            "state_dict": prefixed("model.", other) | prefixed("ema_model.", w)
        },
        "{model, ema: {module., n_averaged}}": lambda w, other: {
            "model": other,
            "ema": prefixed("module.", w) | {"n_averaged": np.array(7.0)},
        },
        "backbone. and head.": lambda w, _: prefixed("backbone.", body_and_head(w)[0])
        | prefixed("head.", body_and_head(w)[1]),
        "{backbone, head}": lambda w, _: dict(zip(("backbone", "head"), body_and_head(w))),
        "{model, model_ema: the same}": lambda w, _: {"model": w, "model_ema": dict(w)},
        "{state_dict, model: the same}": lambda w, _: {"state_dict": w, "model": dict(w)},
        "compiled blocks": lambda w, _: {
            name.replace("blocks.1.", "blocks.1._orig_mod."): array for name, array in w.items()
        },
    }
    return made | nested


def ambiguous():
    """{kind: function of two sets of entries -> the tree of a file of which none may be guessed}."""
    pairs = [("student", "teacher"), ("state_dict", "model"), ("model_ema", "ema"), ("net", "generator")]
    made = {f"{{{one}, {other}}}": lambda a, b, one=one, other=other: {one: a, other: b} for one, other in pairs}
    made["model. and net."] = lambda a, b: prefixed("model.", a) | prefixed("net.", b)
    made["{state_dict: student. and teacher.}"] = lambda a, b: {
        "state_dict": prefixed("student.", a) | prefixed("teacher.", b)
    }
    return made
