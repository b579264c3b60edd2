"""config.json, by which OpenVINO Model Server knows which models to load: their names, folders and versions."""

import json

IMAGE = "openvino/model_server:2025.4"
CONFIG = "config.json"
MOUNTED = "/bundle"  # the folder inside the container


def with_model(text, name):
    """The content of config.json with a model in it; other entries, and what was changed in its own, are kept.

    Args:
        text: the content so far, or None.
        name: of the model.

    Raises:
        ValueError: for a content that is no configuration.
    """
    configuration = _read(text)
    models = configuration["model_config_list"]
    if name not in [model["config"]["name"] for model in models]:
        policy = {"latest": {"num_versions": 1}}
        entry = {"name": name, "base_path": f"{MOUNTED}/models/{name}", "model_version_policy": policy}
        models.append({"config": entry})
    return json.dumps(configuration, indent=2, ensure_ascii=False) + "\n"


def _read(text):
    if text is None:
        return {"model_config_list": []}
    try:
        configuration = json.loads(text)
        [model["config"]["name"] for model in configuration["model_config_list"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{CONFIG}: expected a model_config_list, to add a model to ({type(error).__name__}: {error}). Correct it, "
            "or choose another --output."
        ) from error
    return configuration
