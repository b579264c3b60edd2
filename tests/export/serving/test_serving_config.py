"""models.config and batching.config: written, edited, and read with TF Serving's own message classes."""

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from keras_vit.export.serving import messages
from keras_vit.export.serving.serving_config import (
    Batching,
    ModelConfig,
    add_model,
    model_folder,
    read_batching,
    read_models,
    service_name,
)


@pytest.fixture
def bundle(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "models" / name).mkdir(parents=True)
    return tmp_path


def written(bundle):
    """models.config as TF Serving reads it."""
    text = (bundle / "models.config").read_text()
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config


def test_a_second_model_is_added(bundle):
    add_model(bundle, "one")
    add_model(bundle, "two")
    add_model(bundle, "one")
    assert [(c.name, c.base_path, c.model_platform) for c in written(bundle)] == [
        ("one", "/models/one", "tensorflow"),
        ("two", "/models/two", "tensorflow"),
    ]
    models = read_models(bundle)
    assert models["two"] == ModelConfig("two", "/models/two", ("latest", 1), {})
    assert model_folder(bundle, models["two"]) == bundle / "models" / "two"


def test_labels_move_and_keep_all_versions_loaded(bundle):
    add_model(bundle, "one", "stable", 1)
    add_model(bundle, "one", "canary", 2)
    add_model(bundle, "one")
    assert read_models(bundle)["one"].labels == {"stable": 1, "canary": 2}
    add_model(bundle, "one", "stable", 2)
    (config,) = written(bundle)
    assert dict(config.version_labels) == {"stable": 2, "canary": 2}
    assert config.model_version_policy.WhichOneof("policy_choice") == "all"


def test_edits_are_kept(bundle):
    (bundle / "models.config").write_text("""model_config_list {
          config { name: "one" base_path: "/models/one" logging_config { log_collector_config { type: "x" } }
                   model_version_policy { latest { num_versions: 3 } } }
          config { name: "elsewhere" base_path: "gs://bucket/m" model_version_policy { specific { versions: [4, 2] } } }
          config { name: "gone" base_path: "/models/gone" }
        }""")
    add_model(bundle, "two")
    assert [config.name for config in written(bundle)] == ["one", "elsewhere", "two"]
    assert written(bundle)[0].logging_config.log_collector_config.type == "x"
    models = read_models(bundle)
    assert models["one"].policy == ("latest", 3) and models["elsewhere"].policy == ("specific", (4, 2))
    assert str(model_folder(bundle, models["elsewhere"])) == "gs:/bucket/m"


@pytest.mark.parametrize(
    "policy, selected",
    [(("latest", 2), [9, 10]), (("latest", 9), [2, 9, 10]), (("specific", (2, 3)), [2]), (("all",), [2, 9, 10])],
)
def test_versions_that_a_policy_selects(policy, selected):
    assert ModelConfig("m", "/models/m", policy, {}).select([10, 2, 9]) == selected


def test_without_a_file_every_folder_is_a_model(bundle):
    (bundle / "models" / ".three.tmp").mkdir()
    assert list(read_models(bundle)) == ["one", "two"]
    assert read_models(bundle / "empty") == {}


def test_a_broken_file_is_named(bundle):
    (bundle / "models.config").write_text("model_config_list {\n config {\n")
    for call in (lambda: read_models(bundle), lambda: add_model(bundle, "one")):
        with pytest.raises(ValueError, match=r"models.config, line \d+:\d+ : Expected"):
            call()


@pytest.mark.parametrize(
    "config, problem",
    [
        ('base_path: "/models/one"', "expected a name in every config"),
        ('name: "one"', "expected a base_path in every config"),
        ('name: "one" base_path: 5', "Expected string but found: '5'"),
        ('name: "one" base_path: "x" version_labels { key: "a" value: "b" }', 'integer: "b"'),
        ('name: "one" base_path: "x" model_version_policy { latest { num_versions: TWO } }', "integer: TWO"),
        ('name: "one" base_path: "x" model_version_policy: 7', 'Expected "{"'),
    ],
)
def test_missing_values_and_values_of_another_kind_are_named(bundle, config, problem):
    (bundle / "models.config").write_text(f"model_config_list {{ config {{ {config} }} }}")
    with pytest.raises(ValueError, match=f"models.config.*{problem}"):
        read_models(bundle)


def test_unknown_fields_are_ignored_when_read_and_never_lost(bundle):
    text = 'model_config_list { config { name: "one" base_path: "/models/one" newer { x: 1 } } }'
    (bundle / "models.config").write_text(text)
    assert list(read_models(bundle)) == ["one"]
    with pytest.raises(ValueError, match='models.config.*no field named "newer"'):
        add_model(bundle, "two")
    assert (bundle / "models.config").read_text() == text


def test_a_custom_config_is_not_overwritten(bundle):
    (bundle / "models.config").write_text('custom_model_config { type_url: "x" }')
    with pytest.raises(ValueError, match="models.config: .*custom_model_config"):
        add_model(bundle, "one")


def test_batching(bundle):
    assert read_batching(bundle) == Batching()
    path = bundle / "batching.config"
    path.write_text("max_batch_size { value: 6 } allowed_batch_sizes: [1, 6] batch_timeout_micros { value: 500 }")
    assert read_batching(bundle) == Batching((1, 6), 0.0005)
    path.write_text("max_batch_size { value: 5 } num_batch_threads { value: 2 } max_enqueued_batches { value: 7 }")
    assert read_batching(bundle) == Batching((1, 2, 4, 5), 0.002, 2, 7)
    for wrong in ("max_batch_size { value: 5 } allowed_batch_sizes: [1, 6]", "allowed_batch_sizes: [4, 2]"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="must ascend and end with max_batch_size"):
            read_batching(bundle)


def test_the_batching_config_of_an_export_has_the_defaults(exported):
    parameters = messages.parse((exported[0] / "batching.config").read_text(), "BatchingParameters")
    assert list(parameters.allowed_batch_sizes) == [1, 2, 4, 8, 16, 32]
    assert parameters.max_batch_size.value == 32 and parameters.num_batch_threads.value == 4
    assert read_batching(exported[0]) == Batching()


@pytest.mark.parametrize(
    "name, expected", [("SwinT.ms_in1k", "swint-ms-in1k"), ("3d", "model-3d"), ("a" * 80, "a" * 50)]
)
def test_names_that_kubernetes_takes(name, expected):
    assert service_name(name) == expected
