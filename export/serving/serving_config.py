"""TF Serving's configuration in a bundle: models.config (which models and versions) and batching.config.

models.config is written by the exporter and may be edited: entries are kept, comments are not. A model's versions are
loaded according to its policy (by default the newest only); once a label points at a version, all are loaded.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from keras_vit.export.serving import messages
from keras_vit.system.files import atomic_file

MODELS, BATCHING = "models.config", "batching.config"
MOUNTED = "/models"  # the bundle's models/ inside the container
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
HEADER = """\
# The models that TF Serving loads; `keras-vit export` adds to it and keeps other entries.
# Several versions at once:  model_version_policy { latest { num_versions: 2 } }  or  { specific { versions: 3 } }
"""


@dataclass(frozen=True)
class ModelConfig:
    """One entry of models.config."""

    name: str
    base_path: str
    policy: tuple  # ("latest", number), ("specific", versions) or ("all",)
    labels: dict[str, int]  # label -> version

    def select(self, present):
        """The version numbers to load, of those that are present."""
        kind, *argument = self.policy
        if kind == "latest":
            return sorted(present)[-argument[0] :]
        return sorted(set(present) & set(argument[0])) if kind == "specific" else sorted(present)


@dataclass(frozen=True)
class Batching:
    """How waiting requests are batched."""

    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)  # allowed, ascending; a batch is padded to the next
    timeout: float = 0.002  # seconds that the first request of a batch waits for others
    threads: int = 4  # batches that run at the same time
    queue: int = 100  # full batches that may wait at most


def read_models(bundle):
    """The models of a bundle: those of models.config; without that file, every folder in models/ with a default policy.

    Returns:
        {name: `ModelConfig`}.

    Raises:
        ValueError: if models.config cannot be read. Fields that are unknown here are ignored.
    """
    path = Path(bundle, MODELS)
    configs = _read(path, "ModelServerConfig", allow_unknown_field=True)
    if configs is None:
        folders = sorted(Path(bundle, "models").glob("[!.]*/"))
        return {
            folder.name: ModelConfig(folder.name, f"{MOUNTED}/{folder.name}", ("latest", 1), {}) for folder in folders
        }
    return {config.name: _model(config, path) for config in configs.model_config_list.config}


def read_for_writing(bundle):
    """The ModelServerConfig message of a bundle, empty without models.config.

    Raises:
        ValueError: if models.config cannot be read, or has content that would be lost when it is written again.
    """
    path = Path(bundle, MODELS)
    configs = _read(path, "ModelServerConfig") or messages.new("ModelServerConfig")
    if configs.WhichOneof("config") == "custom_model_config":
        raise ValueError(f"{path}: expected a model_config_list, to add a model to. Received: custom_model_config.")
    return configs


def add_model(bundle, name, label=None, version=None):
    """Write models.config with the model `name` in it.

    Models whose folder is gone from the bundle are removed: TF Serving would wait for them forever.

    Args:
        bundle: the bundle's folder.
        name: of the model.
        label: for a version, under which clients can request it; all versions are then loaded, so that none with a
            label is ever missing.
        version: the number of that version.
    """
    configs = read_for_writing(bundle)
    models = configs.model_config_list.config
    for index in reversed(range(len(models))):
        if _is_gone(bundle, models[index].base_path):
            del models[index]
    if name not in [config.name for config in models]:
        models.add(name=name, base_path=f"{MOUNTED}/{name}", model_platform="tensorflow")
    for config in models:
        if label and config.name == name:
            config.model_version_policy.all.SetInParent()
            config.version_labels[label] = version
    with atomic_file(Path(bundle, MODELS)) as temporary:
        temporary.write_text(HEADER + messages.to_text(configs), encoding="utf-8")


def read_batching(bundle):
    """The `Batching` of a bundle; defaults for what its batching.config leaves out.

    Raises:
        ValueError: if batching.config cannot be read, or TF Serving would refuse its sizes.
    """
    path, default = Path(bundle, BATCHING), Batching()
    parameters = _read(path, "BatchingParameters", allow_unknown_field=True) or messages.new("BatchingParameters")

    def number(name, default):
        return getattr(parameters, name).value if parameters.HasField(name) else default

    sizes = tuple(parameters.allowed_batch_sizes)
    most = number("max_batch_size", max(sizes or default.sizes))
    if not sizes:
        sizes = tuple(size for size in default.sizes if size < most) + (most,)
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != most:
        raise ValueError(
            f"{path}: allowed_batch_sizes must ascend and end with max_batch_size. "
            f"Received: {list(sizes)}, max_batch_size {most}."
        )
    timeout = number("batch_timeout_micros", 1e6 * default.timeout) / 1e6
    threads = number("num_batch_threads", default.threads)
    return Batching(sizes, timeout, threads, number("max_enqueued_batches", default.queue))


def model_folder(bundle, model):
    """The folder of a `ModelConfig`'s versions on this machine."""
    return _folder(bundle, model.base_path)


def _folder(bundle, base_path):
    """A path below the container's /models is one in the bundle's models/."""
    inside = Path(base_path).is_relative_to(MOUNTED)
    return Path(bundle, "models", Path(base_path).relative_to(MOUNTED)) if inside else Path(base_path)


def _is_gone(bundle, base_path):
    return Path(base_path).is_relative_to(MOUNTED) and not _folder(bundle, base_path).is_dir()


def _model(config, path):
    """The `ModelConfig` of a ModelConfig message."""
    for field in ("name", "base_path"):
        if not getattr(config, field):
            raise ValueError(f"{path}: expected a {field} in every config. Received: {messages.to_text(config)!r}.")
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        versions = ("specific", tuple(policy.specific.versions))
    else:
        versions = ("all",) if kind == "all" else ("latest", policy.latest.num_versions or 1)
    return ModelConfig(config.name, config.base_path, versions, dict(config.version_labels))


def _read(path, message, allow_unknown_field=False):
    """The message in a file, None without the file; ValueError naming the file."""
    try:
        return messages.parse(path.read_text(encoding="utf-8"), message, allow_unknown_field)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error


def service_name(name):
    """A model's name as Kubernetes may have it: letters, digits and -, beginning with a letter, at most 50."""
    found = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    return (found if found[:1].isalpha() else f"model-{found}")[:50].strip("-")
