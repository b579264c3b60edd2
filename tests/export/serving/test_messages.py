"""The description of TF Serving's messages against its own package, and their text form."""

import gc
import weakref

import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_vit.export.serving import messages

CONFIG = """
# every way to write it
model_config_list: {
  config {
    name: "a 'b' \\"c\\" \\303\\274" "\\x21"
    base_path: '/models/a'; model_platform: "tensorflow",
    model_version_policy < specific { versions: [1, 0x10] versions: 3 } >  # two signs
    version_labels { key: "stable" value: -7 }
    logging_config { sampling_config { sampling_rate: 0.5 } }
  }
  config { model_type: TENSORFLOW }
}
"""


def same(ours, theirs, complete):
    """Assert that two message types agree, with all types that they refer to; ours may be a part if not `complete`."""
    if complete:
        assert set(ours.fields_by_name) == set(theirs.fields_by_name), ours.full_name
    for name, field in ours.fields_by_name.items():
        other = theirs.fields_by_name[name]
        assert (field.number, field.is_repeated) == (other.number, other.is_repeated), field.full_name
        assert (field.containing_oneof is None) == (other.containing_oneof is None), field.full_name
        if other.message_type is not None and other.message_type.full_name == "tensorflow.TensorProto":
            assert field.type == field.TYPE_BYTES  # the same bytes
            continue
        assert field.type == other.type, field.full_name
        if field.message_type is not None:
            same(field.message_type, other.message_type, complete)
        if field.enum_type is not None:
            ours_named, theirs_named = (
                {value.name: value.number for value in one.enum_type.values} for one in (field, other)
            )
            assert ours_named == theirs_named


def test_the_configuration_is_described_completely():
    theirs = model_server_config_pb2.ModelServerConfig.DESCRIPTOR
    same(messages.descriptor("ModelServerConfig"), theirs, complete=True)


def test_requests_are_described_as_far_as_they_are_used():
    same(messages.descriptor("PredictionLog"), prediction_log_pb2.PredictionLog.DESCRIPTOR, complete=False)


def test_batching_parameters_have_the_numbers_of_tf_serving():
    """tensorflow_serving/servables/tensorflow/session_bundle_config.proto, which its Python package leaves out."""
    fields = messages.descriptor("BatchingParameters").fields_by_name
    assert {name: field.number for name, field in fields.items()} == {
        "max_batch_size": 1,
        "batch_timeout_micros": 2,
        "max_enqueued_batches": 3,
        "num_batch_threads": 4,
        "thread_pool_name": 5,
        "allowed_batch_sizes": 6,
        "pad_variable_length_inputs": 7,
        "enable_large_batch_splitting": 8,
        "max_execution_batch_size": 9,
    }


def test_text_is_read_and_written_as_tf_serving_reads_it():
    theirs = text_format.Parse(CONFIG, model_server_config_pb2.ModelServerConfig())
    ours = messages.parse(CONFIG, "ModelServerConfig")
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    assert text_format.Parse(messages.to_text(ours), model_server_config_pb2.ModelServerConfig()) == theirs
    assert ours.model_config_list.config[0].name == "a 'b' \"c\" ü!" and "ü" in messages.to_text(ours)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("model_config_list {\n config {", "line 2"),
        ("\n\nmodel_config_list: 7", 'line 3:.*Expected "{"'),
        ("model_config_list {}\nother: 1", 'line 2:.*no field named "other"'),
        ("\n\n%", "line 3"),
    ],
)
def test_what_is_not_a_message_is_reported_with_its_line(text, problem):
    with pytest.raises(ValueError, match=problem):
        messages.parse(text, "ModelServerConfig")


def test_unknown_fields_can_be_allowed():
    parsed = messages.parse("max_batch_size { value: 5 }\nnewer: 1", "BatchingParameters", allow_unknown_field=True)
    assert parsed.max_batch_size.value == 5


def test_classes_are_held_by_all_their_names():
    found = messages.message_classes(messages.descriptor("ModelServerConfig").file)
    entry = "tensorflow.serving.ModelConfig.VersionLabelsEntry"
    assert entry in found and all(name == kept.DESCRIPTOR.full_name for name, kept in found.items())
    made_before = weakref.ref(type(messages.new("ModelServerConfig")))
    gc.collect()
    assert made_before() is type(messages.new("ModelServerConfig"))
