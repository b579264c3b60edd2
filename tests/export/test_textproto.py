"""The text form against protobuf's own reader and writer, on TF Serving's messages."""

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from keras_vit.export.textproto import Word, dump, get, parse

CONFIG = """
# every way to write it
model_config_list: {
  config {
    name: "a 'b' \\"c\\" \\303\\274" "\\x21"
    base_path: '/models/a'; model_platform: "tensorflow",
    model_version_policy < specific { versions: [1, 0x10] versions: 3 } >  # two signs
    version_labels { key: "stable" value: -7 }
  }
  config {}
}
"""


def test_read_as_protobuf_reads_it():
    wanted = text_format.Parse(CONFIG, model_server_config_pb2.ModelServerConfig())
    message = parse(CONFIG)
    assert text_format.Parse(dump(message), model_server_config_pb2.ModelServerConfig()) == wanted
    config = get(get(message, "model_config_list"), "config")
    assert config == []
    assert wanted.model_config_list.config[0].name == "a 'b' \"c\" ü!"


def test_written_as_protobuf_writes_it():
    message = text_format.Parse(CONFIG, model_server_config_pb2.ModelServerConfig())
    text = text_format.MessageToString(message, as_utf8=True)
    assert parse(dump(parse(text))) == parse(text)
    assert dump(parse('a { b: 1 } c: "x"')) == 'a {\n  b: 1\n}\nc: "x"\n'


def test_values():
    message = parse("a: true b: false c: HIGH d: -1.5e3 f: 'x' a: 2 g: {} h: [] i: ['x', 'y']")
    assert message[:4] == [("a", True), ("b", False), ("c", "HIGH"), ("d", -1500.0)]
    assert isinstance(get(message, "c"), Word) and not isinstance(get(message, "f"), Word)
    assert get(message, "a") == 2 and get(message, "h") is None and get(message, "none", 5) == 5
    assert [value for field, value in message if field == "i"] == ["x", "y"]
    assert parse(dump(message)) == message
    assert dump([("a", True), ("c", Word("HIGH")), ("n", float("inf"))]) == "a: true\nc: HIGH\nn: inf\n"


@pytest.mark.parametrize(
    "text, problem",
    [
        ("a {\n b: 1", "line 2: expected the name of a field. Received: the end"),
        ("a: 1\n}", "line 2: expected the name of a field. Received: }"),
        ("a 1", "line 1: expected ':' or '{'. Received: 1"),
        ("a: }", "line 1: expected a value"),
        ("a: 1x", "line 1: expected a number. Received: 1x"),
        ('a: "open\n', "line 1: expected a field or a value"),
        ("\n\n%", "line 3"),
    ],
)
def test_what_is_no_message_is_told_with_its_line(text, problem):
    with pytest.raises(ValueError, match=problem):
        parse(text)
