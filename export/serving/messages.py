"""TF Serving's protobuf messages, without tensorflow-serving-api: only tests need that package.

data/messages.textproto describes the messages; a test compares it with the package.
"""

import functools
from importlib import resources

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

PACKAGE = "tensorflow.serving"
DESCRIPTION = "data/messages.textproto"


def new(name):
    """An empty message, e.g. of type "ModelServerConfig"."""
    return _classes()[f"{PACKAGE}.{name}"]()


def descriptor(name):
    """The descriptor of a message type."""
    return _pool().FindMessageTypeByName(f"{PACKAGE}.{name}")


def parse(text, name, allow_unknown_field=False):
    """A message from its text format.

    Args:
        text: the text.
        name: of the message type.
        allow_unknown_field: drop fields that the type does not have.

    Raises:
        ValueError: if it is not such a message, with line and column.
    """
    try:
        return text_format.Parse(text, new(name), allow_unknown_field=allow_unknown_field)
    except text_format.ParseError as error:
        raise ValueError(f"line {error}" if error.GetLine() else str(error)) from error


def to_text(message):
    """A message in text format, one field per line."""
    return text_format.MessageToString(message, as_utf8=True)


def message_classes(file):
    """{full name: class} of all message types of a file's descriptor, those within others included; to be kept.

    Protobuf makes a class anew where none is held, and its C extension (7.36.2) crashes when a thread finds one that
    another thread's garbage collection has begun to take down.
    """
    found, waiting = {}, list(file.message_types_by_name.values())
    while waiting:
        described = waiting.pop()
        found[described.full_name] = message_factory.GetMessageClass(described)
        waiting.extend(described.nested_types)
    return found


@functools.cache
def _classes():
    return message_classes(descriptor("ModelServerConfig").file)


@functools.cache
def _pool():
    """A pool of its own: TF Serving's package, if imported too, adds the same names to the default one."""
    text = resources.files("keras_vit.export.serving").joinpath(DESCRIPTION).read_text(encoding="utf-8")
    description = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(description.SerializeToString())
    return pool
