"""The loaded versions of a bundle's models, kept up to date with the disk; loading needs TensorFlow only."""

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf
from google.protobuf import json_format

from keras_vit.export.devserver.batching import Batcher
from keras_vit.export.devserver.neighbours import StoredVectors
from keras_vit.export.devserver.rest import RestError, Signature, shortened
from keras_vit.export.serving import serving_config

LOG = logging.getLogger(__name__)
INDEX = "assets.extra/index.npz"  # of `saved_model.export`


class Servable:
    """A loaded version of a model; `images` is the folder of the stored images that may be shown, or None."""

    def __init__(self, folder, batching, images=None):
        self.number = int(folder.name)
        self.signature_defs = _signature_defs(folder)
        self._loaded = tf.saved_model.load(str(folder))  # owns the variables
        self.largest_batch = batching.sizes[-1]
        self.signatures = {name: _signature(name, function) for name, function in self._loaded.signatures.items()}
        self._batchers = {
            name: Batcher(lambda inputs, function=function: _run(function, inputs), batching)
            for name, function in self._loaded.signatures.items()
        }
        vector = len(self.features) == 1 and (folder / INDEX).is_file()
        self.stored = StoredVectors(folder / INDEX, images) if vector else None

    @property
    def features(self):
        """Names of the outputs of a model that gives features, as `served.ServedFeatures` does; else ()."""
        of_files, of_images = (self.signatures.get(name) for name in ("serving_default", "predict_images"))
        if of_files is None or of_images is None or set(of_files.outputs) != {*of_images.outputs, "decoded"}:
            return ()
        return tuple(sorted(of_images.outputs))

    def submit(self, signature, inputs):
        """Queue a request for a signature, as `Batcher.submit`."""
        return self._batchers[signature].submit(inputs)

    def decode(self, encoded):
        """An encoded image, decoded and prepared: float32 (H, W, 3) in [0, 255]; `RestError` if it cannot be."""
        if not hasattr(self._loaded, "_decode"):  # of `served.ServedModel`
            raise RestError(
                400, f"Version {self.number} has no function to decode with; `keras-vit export` writes one."
            )
        [image], [decoded] = self._loaded._decode(tf.constant([encoded]))
        if not decoded:
            raise RestError(400, "The image is damaged, or of a kind that is not decoded here; send JPEG or PNG.")
        return image.numpy()

    def find_signature(self, name):
        """The `rest.Signature` of a name; `RestError` if there is none."""
        if name not in self.signatures:
            raise RestError(400, f'Serving signature name: "{shortened(name)}" not found in signature def')
        return self.signatures[name]

    def metadata(self, model):
        """The JSON value of a metadata request: the signatures."""
        spec = {"name": model, "signature_name": "", "version": str(self.number)}
        described = {
            name: json_format.MessageToDict(
                definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for name, definition in self.signature_defs.items()
        }
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": described}}}

    def close(self):
        """Run the waiting requests, and end the threads."""
        for batcher in self._batchers.values():
            batcher.close()


@dataclass
class State:
    """The state of a version."""

    state: str = "LOADING"  # then AVAILABLE, UNLOADING, END
    error: str = ""
    servable: Servable | None = None
    stamp: tuple = field(default=())  # `_stamp` of its folder when it failed to load

    def as_json(self, number):
        """The JSON value of a status request."""
        status = {"error_code": "UNKNOWN" if self.error else "OK", "error_message": self.error}
        return {"version": str(number), "state": self.state, "status": status}


class Servables:
    """All models of a bundle. `refresh` loads and unloads, in one thread; other methods can be called from any."""

    def __init__(self, bundle, images=None):
        self._images = images
        self._bundle, self._lock = Path(bundle), threading.Lock()
        self._states, self._labels = {}, {}  # model -> version -> State; model -> label -> version

    def refresh(self):
        """Load the configured versions that are not loaded; then unload those that are no longer configured."""
        models = serving_config.read_models(self._bundle)
        batching = serving_config.read_batching(self._bundle)
        configured = {}
        for name, model in models.items():
            folder = serving_config.model_folder(self._bundle, model)
            configured[name] = {number: folder / str(number) for number in model.select(_versions(folder))}
        for name, folders in configured.items():
            for number, folder in sorted(folders.items()):
                self._load(name, number, folder, batching)
        self._labels = {name: model.labels for name, model in models.items()}
        served = set(self.available())
        for name, number, state in self._available():
            complete = all((name, other) in served for other in configured.get(name, ()))
            if complete and number not in configured.get(name, ()):  # else it replaces one that cannot be loaded
                self._unload(name, number, state)

    def find(self, model, version=None, label=None):
        """The `Servable` of a version or a label, or the newest one; `RestError` if there is none."""
        if label is not None:
            version = self._labels.get(model, {}).get(label)
            if version is None:
                raise RestError(400, f"Unrecognized servable version label: {label}")
        available = {number: state.servable for name, number, state in self._available() if name == model}
        number = version if version is not None else max(available, default=None)
        if number not in available:
            which = "Latest" if version is None else "Specific"
            name = model if version is None else f"{model}, {version}"
            raise RestError(404, f"Servable not found for request: {which}({name})")
        return available[number]

    def status(self, model, version=None, label=None):
        """The states of a model's versions, or of one of them; `RestError` if there is none."""
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

    def check_ready(self, model=None, version=None):
        """`RestError` 503 unless a model, or all that are configured, can answer now; 404 for one that is not there."""
        served = self.available()
        missing = [name for name in self._labels if not any(name == other for other, _ in served)]
        if model is None and missing:
            raise RestError(503, f"Not ready: no version of {', '.join(missing)} is loaded.")
        if model is not None and not any(name == model and version in (None, number) for name, number in served):
            states = self.status(model, version)["model_version_status"]
            known = ", ".join(f"version {state['version']} is {state['state']}" for state in states)
            raise RestError(503, f"Not ready: {known}.")

    def available(self):
        """(model, version) of all versions that are served."""
        return [(name, number) for name, number, _ in self._available()]

    def versions(self, model):
        """Numbers of the versions of a model that are served, ascending."""
        return sorted(number for name, number in self.available() if name == model)

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
            servable = Servable(folder, batching, self._images)
        except Exception as error:  # of any kind: the other versions are served
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
    """Numbers of the versions in a model's folder."""
    if not folder.is_dir():
        return []
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit() and entry.is_dir()]


def _stamp(folder):
    """A value that changes when a file of the folder is written."""
    return tuple(sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")))


def _signature_defs(folder):
    """{signature: its SignatureDef}, by name."""
    from tensorflow.core.protobuf import saved_model_pb2

    stored = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return dict(sorted(stored.meta_graphs[0].signature_def.items()))


def _signature(name, function):
    def described(tensor):
        dtype = bytes if tensor.dtype == tf.string else tensor.dtype.as_numpy_dtype
        return dtype, tuple(tensor.shape.as_list())

    inputs = {key: described(tensor) for key, tensor in function.structured_input_signature[1].items()}
    outputs = {key: described(tensor) for key, tensor in sorted(function.structured_outputs.items())}
    return Signature(name, inputs, outputs)


def _run(function, inputs):
    """Call a signature with arrays; returns arrays."""
    tensors = {name: tf.constant(array, tf.string if array.dtype == object else None) for name, array in inputs.items()}
    return {name: tensor.numpy() for name, tensor in function(**tensors).items()}
