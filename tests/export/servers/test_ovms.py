import json

import pytest

from keras_vit.export.servers import ovms


def test_models_are_added_once_and_others_kept():
    text = ovms.with_model(None, "digits")
    [entry] = json.loads(text)["model_config_list"]
    assert entry["config"]["base_path"] == "/bundle/models/digits"
    edited = json.loads(text)
    edited["model_config_list"][0]["config"]["nireq"] = 4
    edited["pipeline_config_list"] = []
    again = json.loads(ovms.with_model(ovms.with_model(json.dumps(edited), "digits"), "other"))
    assert [model["config"]["name"] for model in again["model_config_list"]] == ["digits", "other"]
    assert again["model_config_list"][0]["config"]["nireq"] == 4 and again["pipeline_config_list"] == []


@pytest.mark.parametrize("text", ["{", "{}", '{"model_config_list": [{}]}', "[]"])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ValueError, match="config.json: expected a model_config_list.*another --output"):
        ovms.with_model(text, "digits")


# Fields of a model's config and their JSON types, from MODELS_CONFIG_SCHEMA in the server's src/schema.cpp (033c8e48);
# it takes no others, and requires the first two.
FIELDS = {
    **{"name": str, "base_path": str, "batch_size": (int, str), "model_version_policy": dict, "shape": (dict, str)},
    **{"nireq": int, "target_device": str, "plugin_config": dict, "stateful": bool},
}


def test_the_servers_schema_takes_it():
    configuration = json.loads(ovms.with_model(None, "digits"))
    assert set(configuration) == {"model_config_list"}
    for entry in configuration["model_config_list"]:
        assert set(entry) == {"config"} and {"name", "base_path"} <= set(entry["config"]) <= set(FIELDS)
        assert all(isinstance(value, FIELDS[name]) for name, value in entry["config"].items())
        assert entry["config"]["model_version_policy"] == {"latest": {"num_versions": 1}}
