"""The Open Inference Protocol's gRPC form: GRPCInferenceService, by messages that are described here.

data/open_inference.textproto describes its messages; `make test-protocols` compares them with those of `tritonclient`.
A request has its tensors in typed fields or as raw bytes, and gets its outputs in the same form. As over HTTP,
`open_inference.choose_signature` says which signature answers, and the parameter "signature_name" names one.
"""

import functools
import math
from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, text_format

from keras_vit.export.devserver import open_inference, tensors
from keras_vit.export.devserver.grpc_server import parse
from keras_vit.export.devserver.open_inference import InferRequest
from keras_vit.export.devserver.rest import RestError, shortened
from keras_vit.export.serving.messages import message_classes

PACKAGE, SERVICE = "inference", "/inference.GRPCInferenceService/"
DESCRIPTION = "data/open_inference.textproto"
CONTENTS = {  # the typed field of a data type
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    **{"INT64": "int64_contents", "UINT64": "uint64_contents"},
    **{"FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"},
}


def message(name):
    """A message type, e.g. "ModelInferRequest"."""
    return _classes()[f"{PACKAGE}.{name}"]


class InferenceService:
    """The methods, over an `Engine`: coroutines from a message's bytes to those of the answer."""

    def __init__(self, engine):
        self._engine, self._servables = engine, engine.servables
        _classes()  # before there are several threads

    def methods(self):
        """{name on the wire: coroutine function}."""
        each = (self.server_live, self.server_ready, self.model_ready, self.server_metadata, self.model_metadata)
        names = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata")
        return {f"{SERVICE}{name}": method for name, method in zip(names, each)} | {f"{SERVICE}ModelInfer": self.infer}

    async def server_live(self, content):
        """ServerLiveRequest to ServerLiveResponse."""
        parse(message("ServerLiveRequest"), content)
        return message("ServerLiveResponse")(live=True).SerializeToString()

    async def server_ready(self, content):
        """ServerReadyRequest to ServerReadyResponse."""
        parse(message("ServerReadyRequest"), content)
        return message("ServerReadyResponse")(ready=self._is_ready()).SerializeToString()

    async def model_ready(self, content):
        """ModelReadyRequest to ModelReadyResponse."""
        request = parse(message("ModelReadyRequest"), content)
        ready = self._is_ready(request.name, open_inference.parse_version(request.version))
        return message("ModelReadyResponse")(ready=ready).SerializeToString()

    async def server_metadata(self, content):
        """ServerMetadataRequest to ServerMetadataResponse."""
        parse(message("ServerMetadataRequest"), content)
        described = {**open_inference.server_metadata(), "extensions": []}  # bytes behind JSON are HTTP's
        return message("ServerMetadataResponse")(**described).SerializeToString()

    async def model_metadata(self, content):
        """ModelMetadataRequest to ModelMetadataResponse."""
        request = parse(message("ModelMetadataRequest"), content)
        signatures = self._find(request.name, request.version).signatures
        versions = self._servables.versions(request.name)
        described = open_inference.model_metadata(request.name, versions, signatures)
        return message("ModelMetadataResponse")(**described).SerializeToString()

    async def infer(self, content):
        """ModelInferRequest to ModelInferResponse."""

        def submit():
            request = parse(message("ModelInferRequest"), content)
            servable = self._find(request.model_name, request.model_version)
            read = read_request(request, servable.signatures)
            future = servable.submit(read.signature.name, read.inputs)
            return future, (read, request.model_name, servable.number)

        outputs, (read, name, number) = await self._engine.run(len(content), submit)
        return await self._engine.format(format_response, read, name, number, outputs)

    def _find(self, name, version):
        return self._servables.find(name, open_inference.parse_version(version))

    def _is_ready(self, *which):
        try:
            self._servables.check_ready(*which)
        except RestError as error:
            if error.status != 503:
                raise
            return False
        return True


def read_request(request, signatures):
    """The `InferRequest` of a ModelInferRequest; `RestError` if it is malformed."""
    given = {one.name: one for one in request.inputs}
    wanted = [one.name for one in request.outputs]
    if len(given) < len(request.inputs) or len(set(wanted)) < len(wanted):
        raise RestError(400, "Each input, and each output, must have a name that no other has.")
    name = request.parameters["signature_name"].string_param if "signature_name" in request.parameters else None
    signature = open_inference.choose_signature(signatures, given, wanted, name)
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(given):
        raise RestError(400, f"There must be as many raw_input_contents as inputs. Got: {len(raw)}, {len(given)}.")
    inputs = {
        one.name: _input(one, content, *signature.inputs[one.name])
        for one, content in zip(request.inputs, raw or [None] * len(given))
    }
    outputs = dict.fromkeys(wanted or signature.outputs, bool(raw))
    return InferRequest(signature, inputs, outputs, request.id or None)


def format_response(request, model, version, outputs):
    """The bytes of the ModelInferResponse to an `InferRequest`, from {name: array}."""
    response = message("ModelInferResponse")(model_name=model, model_version=str(version), id=request.id or "")
    response.parameters["signature_name"].string_param = request.signature.name
    for name, is_raw in request.outputs.items():
        array = outputs[name]
        kind = tensors.datatype(bytes if array.dtype.kind == "O" else array.dtype)
        output = response.outputs.add(name=name, datatype=kind, shape=array.shape)
        if is_raw or kind not in CONTENTS:
            response.raw_output_contents.append(tensors.to_bytes(array))
        else:
            getattr(output.contents, CONTENTS[kind]).extend(array.ravel().tolist())
    return response.SerializeToString()


def _input(one, raw, dtype, shape):
    """An input as an array of the signature's type and shape."""
    tensors.check_datatype(one.name, one.datatype, dtype)
    given = tensors.checked_shape(one.name, list(one.shape), shape)
    if raw is not None:
        if one.HasField("contents"):
            raise RestError(400, f"Input {shortened(one.name)} must have either contents or raw_input_contents.")
        return tensors.from_bytes(one.name, raw, dtype, given)
    field = CONTENTS.get(one.datatype)
    elements = getattr(one.contents, field) if field else ()
    if len(elements) != math.prod(given):
        where = f"{field} or raw_input_contents" if field else "raw_input_contents"
        raise RestError(
            400,
            f"Input {shortened(one.name)}: expecting {math.prod(given)} elements in {where} but got: {len(elements)}",
        )
    return tensors.from_elements(one.name, elements, dtype, given)


@functools.cache
def _classes():
    """The message types, in a pool of their own: Triton's client, if imported too, adds the same names to another."""
    text = resources.files("keras_vit.export.devserver").joinpath(DESCRIPTION).read_text(encoding="utf-8")
    pool = descriptor_pool.DescriptorPool()
    file = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    return message_classes(pool.FindFileByName(file.name))
