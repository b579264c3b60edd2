"""models.config and batching.config: written, changed by hand, and read with TF Serving's own message classes."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_vit.export.serving_config import (
    Batching,
    ModelConfig,
    add_model,
    model_folder,
    read_batching,
    read_models,
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


def test_what_was_written_by_hand_is_kept(bundle):
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
    "policy, chosen",
    [(("latest", 2), [9, 10]), (("latest", 9), [2, 9, 10]), (("specific", (2, 3)), [2]), (("all",), [2, 9, 10])],
)
def test_versions_that_a_policy_chooses(policy, chosen):
    assert ModelConfig("m", "/models/m", policy, {}).chosen([10, 2, 9]) == chosen


def test_without_a_file_every_folder_is_a_model(bundle):
    (bundle / "models" / ".three.tmp").mkdir()
    assert list(read_models(bundle)) == ["one", "two"]
    assert read_models(bundle / "empty") == {}


def test_a_broken_file_is_named(bundle):
    (bundle / "models.config").write_text("model_config_list {\n config {\n")
    for call in (lambda: read_models(bundle), lambda: add_model(bundle, "one")):
        with pytest.raises(ValueError, match=r"models.config, line 3: expected"):
            call()


@pytest.mark.parametrize(
    "config, problem",
    [
        ('base_path: "/models/one"', "name must be of the kind str. Received: None"),
        ('name: "one" base_path: 5', "base_path must be of the kind str. Received: 5"),
        ('name: "one" base_path: "x" version_labels { key: "a" value: "b" }', "value must be of the kind int"),
        ('name: "one" base_path: "x" model_version_policy { latest { num_versions: TWO } }', "num_versions must be"),
        ('name: "one" base_path: "x" model_version_policy: 7', "not reversible"),
    ],
)
def test_values_of_another_kind(bundle, config, problem):
    (bundle / "models.config").write_text(f"model_config_list {{ config {{ {config} }} }}")
    with pytest.raises(ValueError, match=f"models.config: .*{problem}"):
        read_models(bundle)


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


def serving_message(name, fields):
    """A message class of TF Serving that its Python package leaves out; fields: name -> (number, type or message)."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
        entry = message.field.add(name=field, number=number, label=1)
        if isinstance(kind, str):
            entry.type, entry.type_name = entry.TYPE_MESSAGE, kind
        else:
            entry.type, entry.label = kind, 3
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def test_batching_parameters_are_what_tf_serving_reads(exported):
    """Fields and numbers of BatchingParameters, tensorflow_serving/servables/tensorflow/session_bundle_config.proto."""
    number = ".google.protobuf.Int64Value"
    fields = {"max_batch_size": (1, number), "batch_timeout_micros": (2, number), "max_enqueued_batches": (3, number)}
    fields.update(
        num_batch_threads=(4, number), allowed_batch_sizes=(6, descriptor_pb2.FieldDescriptorProto.TYPE_INT64)
    )
    text = (exported[0] / "batching.config").read_text()
    parameters = text_format.Parse(text, serving_message("BatchingParameters", fields)())
    assert list(parameters.allowed_batch_sizes) == [1, 2, 4, 8, 16, 32]
    assert parameters.max_batch_size.value == 32 and parameters.num_batch_threads.value == 4
    assert read_batching(exported[0]) == Batching()
