"""TF Serving's gRPC interface: PredictionService and ModelService, by the messages of tensorflow-serving-api.

Status codes and their texts are those of release 2.20 (tensorflow_serving/servables/tensorflow/predict_util.cc,
get_model_metadata_impl.cc, classifier.cc, model_servers/get_model_status_impl.cc). Models here have no signature for
Classify and Regress, which are answered as TF Serving answers them for such models. MultiInference, which combines
these, and HandleReloadConfigRequest, by which a client would change what is served, are not implemented.
"""

import math

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from keras_vit.export.devserver import tensors
from keras_vit.export.devserver.grpc_server import parse
from keras_vit.export.devserver.rest import DEFAULT_SIGNATURE, RestError, shortened

PREDICTION, MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
SIGNATURE_DEF = "signature_def"  # the metadata that there is
PREDICT = "tensorflow/serving/predict"  # the method_name of all signatures
FIELDS = {  # of a TensorProto, by the names of types
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
    **{"int64": "int64_val", "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val"},
    **{"float32": "float_val", "float64": "double_val", "object": "string_val"},
}


class PredictionService:
    """The methods, over an `Engine`: coroutines from a message's bytes to those of the answer."""

    def __init__(self, engine):
        self._engine = engine

    def methods(self):
        """{name on the wire: coroutine function}."""
        return {
            f"{PREDICTION}Predict": self.predict,
            f"{PREDICTION}GetModelMetadata": self.metadata,
            f"{PREDICTION}Classify": self.classify,
            f"{PREDICTION}Regress": self.regress,
            f"{MODEL}GetModelStatus": self.status,
        }

    async def predict(self, content):
        """PredictRequest to PredictResponse."""

        def submit():
            request = parse(predict_pb2.PredictRequest, content)
            servable = self._find(request)
            spec = request.model_spec
            signature = _signature(servable, spec.signature_name or DEFAULT_SIGNATURE)
            inputs = read_inputs(request.inputs, signature)
            wanted = _wanted(request.output_filter, signature)
            return servable.submit(signature.name, inputs), (spec.name, servable.number, signature.name, wanted)

        outputs, (name, number, signature, wanted) = await self._engine.run(len(content), submit)

        def respond():
            response = predict_pb2.PredictResponse()
            response.model_spec.name, response.model_spec.signature_name = name, signature
            response.model_spec.version.value = number
            for output in wanted:
                response.outputs[output].CopyFrom(tensor_proto(outputs[output]))
            return response.SerializeToString()

        return await self._engine.format(respond)

    async def metadata(self, content):
        """GetModelMetadataRequest to GetModelMetadataResponse."""
        request = parse(get_model_metadata_pb2.GetModelMetadataRequest, content)
        _check_spec(request)
        if not request.metadata_field:
            raise RestError(400, "GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise RestError(400, f"Metadata field {shortened(field)} is not supported")
        servable = self._find(request)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = servable.number
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response.SerializeToString()

    async def status(self, content):
        """GetModelStatusRequest to GetModelStatusResponse."""
        request = parse(get_model_status_pb2.GetModelStatusRequest, content)
        _check_spec(request)
        spec = request.model_spec
        states = self._engine.servables.status(spec.name, spec.version.value if spec.HasField("version") else None)
        response = get_model_status_pb2.GetModelStatusResponse()
        return json_format.ParseDict(states, response).SerializeToString()

    async def classify(self, content):
        """Refuses a ClassificationRequest."""
        self._refuse(parse(classification_pb2.ClassificationRequest, content), "classification", "classify")

    async def regress(self, content):
        """Refuses a RegressionRequest."""
        self._refuse(parse(regression_pb2.RegressionRequest, content), "regression", "regress")

    def _refuse(self, request, kind, verb):
        servable = self._find(request)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in servable.signatures:
            raise RestError(400, f"No signature was found with the name: {shortened(name)}")
        expected = f"Expected {kind} signature method_name to be tensorflow/serving/{verb}"
        raise RestError(400, f"{expected}. Was: {PREDICT}")

    def _find(self, request):
        """The `Servable` that a request's model_spec names."""
        _check_spec(request)
        spec = request.model_spec
        if not spec.name:
            raise RestError(400, "ModelSpec has no name specified.")
        version = spec.version.value if spec.HasField("version") else None
        return self._engine.servables.find(spec.name, version, spec.version_label or None)


def read_inputs(given, signature):
    """{name: array} of a request's {name: TensorProto}; `RestError` if they are not the inputs of the signature."""
    if set(given) != set(signature.inputs):
        extra, missing = sorted(set(given) - set(signature.inputs)), sorted(set(signature.inputs) - set(given))
        raise RestError(
            400,
            f"input size does not match signature: {len(given)}!={len(signature.inputs)}. Sent extra: "
            f"{{{shortened(','.join(extra))}}}. Missing but required: {{{','.join(missing)}}}.",
        )
    return {name: _array(name, given[name], *signature.inputs[name]) for name in signature.inputs}


def tensor_proto(array):
    """An array as a TensorProto with its elements in the field of its type, as TF Serving has it."""
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    for side in array.shape:
        proto.tensor_shape.dim.add(size=side)
    field = FIELDS.get(array.dtype.name)
    if field is None:  # e.g. float16, whose elements are stored as others
        return tf.make_tensor_proto(array)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto


def _array(name, proto, dtype, shape):
    """An input as an array of the signature's type and shape.

    All its elements must be there: TensorFlow repeats the last one, so that a message of a few bytes takes gigabytes.
    """
    expected = tf.string if dtype is bytes else tf.as_dtype(dtype)
    if proto.dtype != expected.as_datatype_enum:
        raise RestError(400, f"Input {name}: expecting {expected.name} but got: {_type_name(proto.dtype)}")
    if proto.tensor_shape.unknown_rank:
        raise RestError(400, f"Input {name}: the shape is unknown.")
    given = tensors.checked_shape(name, [dim.size for dim in proto.tensor_shape.dim], shape)
    if proto.tensor_content and dtype is not bytes:
        return tensors.from_bytes(name, proto.tensor_content, dtype, given)
    field, count = FIELDS.get("object" if dtype is bytes else np.dtype(dtype).name), math.prod(given)
    elements = getattr(proto, field) if field else ()
    if len(elements) != count:
        where = f"{field} or tensor_content" if field else "tensor_content"
        raise RestError(400, f"Input {name}: expecting {count} elements in {where} but got: {len(elements)}")
    return tensors.from_elements(name, elements, dtype, given)


def _type_name(number):
    known = types_pb2.DataType.DESCRIPTOR.values_by_number.get(number)
    return known.name if known else str(number)


def _check_spec(request):
    if not request.HasField("model_spec"):
        raise RestError(400, "Missing ModelSpec")


def _signature(servable, name):
    if name not in servable.signatures:
        raise RestError(412, f'Serving signature key "{shortened(name)}" not found.')
    return servable.signatures[name]


def _wanted(output_filter, signature):
    """The names of the outputs that the response has."""
    for place, name in enumerate(output_filter):
        if name not in signature.outputs:
            known = ",".join(sorted(signature.outputs))
            problem = f"output tensor alias not found in signature: {shortened(name)}"
            raise RestError(400, f"{problem} Outputs expected to be in the set {{{known}}}.")
        if name in output_filter[:place]:
            raise RestError(400, f"duplicate output tensor alias: {name}")
    return list(output_filter) or list(signature.outputs)
