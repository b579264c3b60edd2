"""TF Serving's configuration in a bundle: models.config (which models and versions) and batching.config.

models.config is written by the exporter and may be changed by hand: what stands there is kept. A model's versions are
loaded as its policy says (the newest alone if it has none); once a label points at a version, all are loaded.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from keras_vit.export import textproto
from keras_vit.files import atomic_file

MODELS, BATCHING = "models.config", "batching.config"
MOUNTED = "/models"  # the bundle's models/ inside the container
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
HEADER = """\
# The models that TF Serving loads; `keras-vit export` adds to it and keeps what is here.
# Several versions at once:  model_version_policy { latest { num_versions: 2 } }  or  { specific { versions: 3 } }
"""


@dataclass(frozen=True)
class ModelConfig:
    """One entry of models.config."""

    name: str
    base_path: str
    policy: tuple  # ("latest", number), ("specific", versions) or ("all",)
    labels: dict[str, int]  # label -> version

    def chosen(self, present):
        """Those of the version numbers `present` that are to be loaded."""
        kind, *argument = self.policy
        if kind == "latest":
            return sorted(present)[-argument[0] :]
        return sorted(set(present) & set(argument[0])) if kind == "specific" else sorted(present)


@dataclass(frozen=True)
class Batching:
    """How waiting requests become batches."""

    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)  # allowed, ascending; a batch is filled up to the next
    timeout: float = 0.002  # seconds that the first request of a batch waits for others
    threads: int = 4  # batches that are run at once
    queue: int = 100  # full batches that may wait


def read_models(bundle):
    """{name: `ModelConfig`} of a bundle; without models.config, of every folder in models/, its newest version."""
    configs = _read(Path(bundle, MODELS))
    if configs is None:
        folders = sorted(Path(bundle, "models").glob("[!.]*/"))
        return {
            folder.name: ModelConfig(folder.name, f"{MOUNTED}/{folder.name}", ("latest", 1), {}) for folder in folders
        }
    models = textproto.get(configs, "model_config_list", [])
    try:
        return {model.name: model for model in (_model(config) for field, config in models if field == "config")}
    except TypeError as error:
        raise ValueError(f"{Path(bundle, MODELS)}: {error}") from error


def add_model(bundle, name, label=None, version=None):
    """Write models.config with the model `name` in it, and the label, if one is given, at the version.

    Models whose folder is gone from the bundle are taken out: TF Serving would wait for it forever.
    """
    path = Path(bundle, MODELS)
    configs = _read(path) or []
    models = [
        (field, config)
        for field, config in textproto.get(configs, "model_config_list", [])
        if not _is_gone(bundle, textproto.get(config, "base_path", ""))
    ]
    if name not in [textproto.get(config, "name") for _, config in models]:
        entry = [("name", name), ("base_path", f"{MOUNTED}/{name}"), ("model_platform", "tensorflow")]
        models.append(("config", entry))
    if label:
        models = [(f, _labelled(c, label, version) if textproto.get(c, "name") == name else c) for f, c in models]
    others = [(field, value) for field, value in configs if field != "model_config_list"]
    with atomic_file(path) as temporary:
        text = textproto.dump([("model_config_list", models), *others])
        temporary.write_text(HEADER + text, encoding="utf-8")


def read_batching(bundle):
    """The `Batching` of a bundle; defaults for what its batching.config leaves out."""
    fields = _read(Path(bundle, BATCHING)) or []
    sizes = tuple(value for field, value in fields if field == "allowed_batch_sizes")

    def number(name, default):
        return textproto.get(textproto.get(fields, name, []), "value", default)

    default = Batching()
    most = number("max_batch_size", max(sizes or default.sizes))
    if not sizes:
        sizes = tuple(size for size in default.sizes if size < most) + (most,)
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != most:
        raise ValueError(
            f"{Path(bundle, BATCHING)}: allowed_batch_sizes must ascend and end with max_batch_size. "
            f"Received: {list(sizes)}, max_batch_size {most}."
        )
    timeout = number("batch_timeout_micros", 1e6 * default.timeout) / 1e6
    threads = number("num_batch_threads", default.threads)
    return Batching(sizes, timeout, threads, number("max_enqueued_batches", default.queue))


def model_folder(bundle, model):
    """Where a `ModelConfig`'s versions lie on this machine."""
    return _folder(bundle, model.base_path)


def _folder(bundle, base_path):
    """A path in the container's /models is one in the bundle's models/."""
    inside = Path(base_path).is_relative_to(MOUNTED)
    return Path(bundle, "models", Path(base_path).relative_to(MOUNTED)) if inside else Path(base_path)


def _is_gone(bundle, base_path):
    return Path(base_path).is_relative_to(MOUNTED) and not _folder(bundle, base_path).is_dir()


def _model(config):
    labels = (entry for field, entry in config if field == "version_labels")
    return ModelConfig(
        _of_kind(str, config, "name"),
        _of_kind(str, config, "base_path"),
        _policy(textproto.get(config, "model_version_policy", [])),
        {_of_kind(str, label, "key"): _of_kind(int, label, "value") for label in labels},
    )


def _policy(message):
    if textproto.get(message, "all") is not None:
        return ("all",)
    specific = textproto.get(message, "specific")
    if specific is not None:
        return "specific", tuple(number for field, number in specific if field == "versions")
    return "latest", _of_kind(int, textproto.get(message, "latest", []), "num_versions", 1)


def _of_kind(kind, message, field, default=None):
    """A field's value; TypeError if it is of another kind."""
    value = textproto.get(message, field, default)
    if not isinstance(value, kind):
        raise TypeError(f"{field} must be of the kind {kind.__name__}. Received: {value!r}")
    return value


def _labelled(config, label, version):
    """The entry with the label at the version, and all versions loaded, so that none with a label is ever missing."""
    kept = [
        (field, value)
        for field, value in config
        if field != "model_version_policy" and not (field == "version_labels" and textproto.get(value, "key") == label)
    ]
    return [*kept, ("model_version_policy", [("all", [])]), ("version_labels", [("key", label), ("value", version)])]


def _read(path):
    """The message in a file, None without one; ValueError naming the file."""
    try:
        return textproto.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error
