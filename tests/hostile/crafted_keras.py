"""HDF5 and .keras files that claim what they do not hold, lead elsewhere or are no model.

Each is a function that writes one into a folder and returns its path.
"""

import json
import zipfile

import h5py
import numpy as np

from tests.hostile.weight_files import CLASSES, contents


def _h5(change):
    """The valid .weights.h5, changed by change(h5py.File)."""

    def write(folder):
        path = folder / "w.weights.h5"
        path.write_bytes(contents()["plain.weights.h5"])
        with h5py.File(path, "r+") as file:
            change(file, folder)
        return path

    return write


def replaced(make):
    """A change that replaces the arrays of the head by what make(group, name) puts there."""

    def change(file, folder):
        found = []
        file.visititems(lambda path, item: found.append(path) if isinstance(item, h5py.Dataset) else None)
        path = next(path for path in found if file[path].shape == (CLASSES,))
        group, key = file[path].parent, path.rpartition("/")[2]
        del group[key]
        make(group, key)

    return change


def _claim(shape, **options):
    return replaced(lambda group, key: group.create_dataset(key, shape, "f4", **options))


def _outside(group, key):
    group.create_dataset(key, (CLASSES,), "f4", external=[("/etc/passwd", 0, 20)])


def _virtual(group, key):
    layout = h5py.VirtualLayout((CLASSES,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (CLASSES,))
    group.create_virtual_dataset(key, layout)


def _link(link):
    def make(group, key):
        group[key] = link

    return replaced(make)


def _value(value):
    return replaced(lambda group, key: group.create_dataset(key, data=value))


def _many_groups(file, folder):
    for index in range(25_000):
        file.create_group(f"more/{index}")


def _circle(file, folder):
    file["layers/again"] = file["layers"]


H5 = {
    "2^29 numbers that are not there": _h5(_claim((2**29,))),
    "2^40 numbers that are not there": _h5(_claim((2**40,), chunks=(2**10,), compression="gzip")),
    "a chunk of 2 GB": _h5(_claim((CLASSES,), maxshape=(None,), chunks=(2**29,), compression="gzip")),
    "numbers in another file": _h5(replaced(_outside)),
    "numbers of a virtual array": _h5(replaced(_virtual)),
    "a link to another file": _h5(_link(h5py.ExternalLink("/etc/passwd", "x"))),
    "a link to nothing": _h5(_link(h5py.SoftLink("/nothing"))),
    "a link to itself": _h5(replaced(lambda group, key: group.__setitem__(key, group))),
    "a circle": _h5(_circle),
    "25,000 groups": _h5(_many_groups),
    "text": _h5(_value(["a"] * CLASSES)),
    "no array": _h5(replaced(lambda group, key: None)),
    "a group instead of an array": _h5(replaced(lambda group, key: group.create_group(key))),
    "an empty array": _h5(_value(h5py.Empty("f4"))),
    "compound numbers": _h5(_value(np.zeros(CLASSES, [("a", "f4"), ("b", "i4")]))),
    "another shape": _h5(_value(np.zeros((CLASSES, 1), "f4"))),
    "NaN": _h5(_value(np.full(CLASSES, np.nan, "f4"))),
    "packed by 1,000": _h5(replaced(lambda g, k: g.create_dataset(k, data=np.zeros(2**26, "f4"), compression="gzip"))),
}


def with_architecture(change=None, members=None, drop=()):
    """The valid .keras file with another config.json, change(dict) or text, and other members."""

    def write(folder):
        path, changed = folder / "w.keras", folder / "changed.keras"
        path.write_bytes(contents()["plain.keras"])
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
            config = json.loads(old.read("config.json"))
            text = change(config) if callable(change) else change
            content = {member: old.read(member) for member in old.namelist() if member not in drop}
            if change is not None:
                content["config.json"] = text if isinstance(text, bytes) else json.dumps(text or config).encode()
            for member, data in (content | (members or {})).items():
                new.writestr(member, data)
        return changed.replace(path)

    return write


unchanged = with_architecture()


def _layer(change, class_name="Dense"):
    """Changes the first layer of a class."""

    def apply(config):
        layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == class_name)
        change(layer)

    return apply


def _set(**settings):
    return _layer(lambda layer: layer["config"].update(settings))


def _copies(count):
    def apply(config):
        layers = config["config"]["layers"]
        block = next(layer for layer in layers if layer["class_name"] == "EncoderBlock")
        for index in range(count):
            extra = json.loads(json.dumps(block))
            extra["name"] = extra["config"]["name"] = f"more{index}"
            layers.append(extra)

    return apply


def _gadget(module, function):
    return _set(
        activation={"module": module, "class_name": "function", "config": function, "registered_name": function}
    )


def _instead(class_name, module="keras.layers", **settings):
    def change(layer):
        layer.update(class_name=class_name, module=module, registered_name=None)
        layer["config"] = {"name": layer["config"]["name"], **settings}

    return _layer(change)


KERAS = {
    "no config.json": with_architecture(drop=("config.json",)),
    "no weights": with_architecture(drop=("model.weights.h5",)),
    "no metadata": with_architecture(drop=("metadata.json",)),
    "an empty config.json": with_architecture(b""),
    "a config.json that is no JSON": with_architecture(b"{"),
    "a config.json that is no text": with_architecture(b"\xff\xfe\x00"),
    "a config.json of NaN": with_architecture(b"NaN"),
    "a config.json that is a list": with_architecture(b"[]"),
    "a config.json that is null": with_architecture(b"null"),
    "a config.json that is a number of 5,000 digits": with_architecture(b"9" * 5000),
    "a config.json without anything": with_architecture(b"{}"),
    "a config.json nested 100,000 deep": with_architecture(b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
    "a config.json nested 900 deep": with_architecture(b'{"a":' * 900 + b"1" + b"}" * 900),
    "a config.json of unfinished strings": with_architecture(b'{"' + b'\\"' * 10**6),
    "a config.json of 5 MB": with_architecture(b'{"a":"' + b"a" * 5 * 2**20 + b'"}'),
    "2^40 units": with_architecture(_set(units=2**40)),
    "2^31 units": with_architecture(_set(units=2**31)),
    "2^70 units": with_architecture(_set(units=2**70)),
    "-1 units": with_architecture(_set(units=-1)),
    "0 units": with_architecture(_set(units=0)),
    "units that are text": with_architecture(_set(units="many")),
    "units that are null": with_architecture(_set(units=None)),
    "units that are Infinity": with_architecture(_set(units=float("inf"))),
    "an unknown argument": with_architecture(_set(colour="red")),
    "an unknown activation": with_architecture(_set(activation="explosion")),
    "an unknown initializer": with_architecture(_set(kernel_initializer="explosion")),
    "an unknown type of numbers": with_architecture(_set(dtype="float31")),
    "a layer of an unknown class": with_architecture(_instead("Explosion")),
    "a layer of an unknown module": with_architecture(_instead("Dense", "subprocess", units=5)),
    "a layer that is a function": with_architecture(_instead("function", "os")),
    "a layer that is code": with_architecture(
        _instead("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEA"}})
    ),
    "a layer that is a SavedModel": with_architecture(_instead("TFSMLayer", filepath="/tmp/saved")),
    "a layer that reads a file": with_architecture(_instead("StringLookup", vocabulary="/etc/passwd")),
    "an activation that is a command": with_architecture(_gadget("os", "system")),
    "an activation that downloads": with_architecture(_gadget("keras.utils", "get_file")),
    "an activation that allows code": with_architecture(_gadget("keras.config", "enable_unsafe_deserialization")),
    "a class_name that is a number": with_architecture(_layer(lambda layer: layer.update(class_name=3))),
    "a module that is a list": with_architecture(_layer(lambda layer: layer.update(module=[]))),
    "a config that is null": with_architecture(_layer(lambda layer: layer.update(config=None))),
    "layers that are null": with_architecture(lambda config: config["config"].update(layers=None)),
    "layers that are numbers": with_architecture(lambda config: config["config"].update(layers=[1, 2])),
    "no layers": with_architecture(lambda config: config["config"].update(layers=[])),
    "a layer less": with_architecture(lambda config: config["config"]["layers"].pop()),
    "a layer twice": with_architecture(
        lambda config: config["config"]["layers"].append(config["config"]["layers"][-1])
    ),
    "outputs of another layer": with_architecture(
        lambda config: config["config"].update(output_layers=[["nothing", 0, 0]])
    ),
    "outputs that are null": with_architecture(lambda config: config["config"].update(output_layers=None)),
    "inputs of another layer": with_architecture(
        lambda config: config["config"].update(input_layers=[["nothing", 0, 0]])
    ),
    "5,000 blocks": with_architecture(_copies(5_000)),
    "100,000 objects": with_architecture(b"[" + b'{"class_name":"Dense"},' * 10**5 + b"1]"),
    "an input of 2^40 pixels": with_architecture(
        lambda config: config["config"]["layers"][0]["config"].update(batch_shape=[None, 2**20, 2**20, 3])
    ),
    "an input of -1 pixels": with_architecture(
        lambda config: config["config"]["layers"][0]["config"].update(batch_shape=[None, -1, -1, 3])
    ),
    "an input of no size": with_architecture(
        lambda config: config["config"]["layers"][0]["config"].update(batch_shape=[None, None, None, 3])
    ),
    "a class that is no model": with_architecture(
        lambda config: config.update(class_name="Dense", module="keras.layers")
    ),
    "weights that are text": with_architecture(members={"model.weights.h5": b"text"}),
    "weights that are cut": with_architecture(members={"model.weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(100)}),
    "weights of nothing": with_architecture(members={"model.weights.h5": b""}),
    "a file outside its folder": with_architecture(members={"../outside.txt": b"x", "assets/a": b"x"}),
    "assets": with_architecture(members={"assets/a": b"x", "assets/b": b"y"}),
}
