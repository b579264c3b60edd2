"""The loaded versions of a bundle's models, kept up with what lies on the disk; TensorFlow alone loads them."""

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from keras_vit.export import serving_config
from keras_vit.export.batching import Batcher
from keras_vit.export.rest import RestError, Signature

LOG = logging.getLogger(__name__)


class Servable:
    """A version of a model, loaded."""

    def __init__(self, folder, batching):
        self.number = int(folder.name)
        self._metadata = _metadata(folder)
        self._loaded = tf.saved_model.load(str(folder))  # it owns the variables
        self.largest_batch = batching.sizes[-1]
        self.signatures = {name: _signature(name, function) for name, function in self._loaded.signatures.items()}
        self._batchers = {
            name: Batcher(lambda inputs, function=function: _run(function, inputs), batching)
            for name, function in self._loaded.signatures.items()
        }

    def submit(self, signature, inputs):
        """A `Future` of the outputs of a signature, as `Batcher.submit`."""
        return self._batchers[signature].submit(inputs)

    def decode(self, picture):
        """A picture's bytes as the model gets them, float32 (H, W, 3) in [0, 255]; `RestError` if that cannot be."""
        if not hasattr(self._loaded, "_decode"):  # of `saved_model.ServedModel`
            raise RestError(400, f"Version {self.number} does not say how it decodes; `keras-vit export` writes that.")
        [image], [decoded] = self._loaded._decode(tf.constant([picture]))
        if not decoded:
            raise RestError(400, "The picture cannot be decoded; JPEG, PNG, BMP and GIF can.")
        return image.numpy()

    def find_signature(self, name):
        """The `rest.Signature` of a name; `RestError` for none."""
        if name not in self.signatures:
            raise RestError(400, f'Serving signature name: "{name}" not found in signature def')
        return self.signatures[name]

    def metadata(self, model):
        """What the server tells of it: its signatures."""
        spec = {"name": model, "signature_name": "", "version": str(self.number)}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": self._metadata}}}

    def close(self):
        """Answer what waits, and end its threads."""
        for batcher in self._batchers.values():
            batcher.close()


@dataclass
class State:
    """What became of a version."""

    state: str = "LOADING"  # then AVAILABLE, UNLOADING, END
    error: str = ""
    servable: Servable | None = None
    stamp: tuple = field(default=())  # of its files when it failed to load

    def as_json(self, number):
        """As TF Serving tells it."""
        status = {"error_code": "UNKNOWN" if self.error else "OK", "error_message": self.error}
        return {"version": str(number), "state": self.state, "status": status}


class Servables:
    """All models of a bundle. `refresh` loads and unloads, in one thread; the others may be called from any."""

    def __init__(self, bundle):
        self._bundle, self._lock = Path(bundle), threading.Lock()
        self._states, self._labels = {}, {}  # model -> version -> State; model -> label -> version

    def refresh(self):
        """Load what the configuration asks for and is not loaded; then unload what it asks for no more."""
        models = serving_config.read_models(self._bundle)
        batching = serving_config.read_batching(self._bundle)
        wanted = {}
        for name, model in models.items():
            folder = serving_config.model_folder(self._bundle, model)
            wanted[name] = {number: folder / str(number) for number in model.chosen(_versions(folder))}
        for name, folders in wanted.items():
            for number, folder in sorted(folders.items()):
                self._load(name, number, folder, batching)
        self._labels = {name: model.labels for name, model in models.items()}
        served = set(self.available())
        for name, number, state in self._available():
            complete = all((name, other) in served for other in wanted.get(name, ()))
            if complete and number not in wanted.get(name, ()):  # else it stands in for one that cannot be loaded
                self._unload(name, number, state)

    def find(self, model, version=None, label=None):
        """The `Servable` of a version, of a label's, or the newest; `RestError` for none."""
        if label is not None:
            version = self._labels.get(model, {}).get(label)
            if version is None:
                raise RestError(400, f"Unrecognized servable version label: {label}")
        available = {number: state.servable for name, number, state in self._available() if name == model}
        number = version if version is not None else max(available, default=None)
        if number not in available:
            which = "Latest" if version is None else "Specific"
            about = model if version is None else f"{model}, {version}"
            raise RestError(404, f"Servable not found for request: {which}({about})")
        return available[number]

    def status(self, model, version=None, label=None):
        """The states of a model's versions, or of one of them; `RestError` for none."""
        if label is not None:
            version = self.find(model, label=label).number
        with self._lock:
            states = dict(self._states.get(model, {}))
        if version is not None and version not in states:
            raise RestError(404, f"Could not find version {version} of model {model}")
        if not states:
            raise RestError(404, f"Could not find any versions of model {model}")
        numbers = [version] if version is not None else sorted(states, reverse=True)
        return {"model_version_status": [states[number].as_json(number) for number in numbers]}

    def available(self):
        """(model, version) of all that are served."""
        return [(name, number) for name, number, _ in self._available()]

    def close(self):
        """Unload everything."""
        for name, number, state in self._available():
            self._unload(name, number, state)

    def _available(self):
        with self._lock:
            return [
                (name, number, state)
                for name, states in self._states.items()
                for number, state in states.items()
                if state.state == "AVAILABLE"
            ]

    def _load(self, name, number, folder, batching):
        present = self._states.get(name, {}).get(number)
        if present and (present.state == "AVAILABLE" or present.error and present.stamp == _stamp(folder)):
            return
        stamp = _stamp(folder)
        self._put(name, number, State())
        try:
            servable = Servable(folder, batching)
        except Exception as error:  # whatever is wrong with this version, the others are served
            LOG.error("%s version %d cannot be loaded: %s", name, number, error)
            self._put(name, number, State("END", str(error), stamp=stamp))
            return
        self._put(name, number, State("AVAILABLE", servable=servable))
        LOG.info("%s version %d is served", name, number)

    def _unload(self, name, number, state):
        self._put(name, number, State("UNLOADING"))
        state.servable.close()
        self._put(name, number, State("END"))
        LOG.info("%s version %d is no longer served", name, number)

    def _put(self, name, number, state):
        with self._lock:
            self._states.setdefault(name, {})[number] = state


def _versions(folder):
    """The numbers of the versions in a model's folder."""
    if not folder.is_dir():
        return []
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit() and entry.is_dir()]


def _stamp(folder):
    """Changes when a file of the folder is written."""
    return tuple(sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")))


def _metadata(folder):
    """{signature: its description} as TF Serving writes it."""
    from google.protobuf import json_format
    from tensorflow.core.protobuf import saved_model_pb2

    stored = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return {
        name: json_format.MessageToDict(
            signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, signature in stored.meta_graphs[0].signature_def.items()
    }


def _signature(name, function):
    def described(tensor):
        dtype = bytes if tensor.dtype == tf.string else tensor.dtype.as_numpy_dtype
        return dtype, tuple(tensor.shape.as_list())

    inputs = {key: described(tensor) for key, tensor in function.structured_input_signature[1].items()}
    return Signature(name, inputs, tuple(function.structured_outputs))


def _run(function, inputs):
    """Call a signature with arrays; arrays back."""
    tensors = {name: tf.constant(array, tf.string if array.dtype == object else None) for name, array in inputs.items()}
    return {name: tensor.numpy() for name, tensor in function(**tensors).items()}
