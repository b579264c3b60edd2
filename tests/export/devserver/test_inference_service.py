"""The Open Inference Protocol's messages in and out, with a stand-in for the model; test_app.py has a real one."""

import asyncio
from concurrent.futures import Future

import numpy as np
import pytest

from keras_vit.export.devserver.engine import Engine
from keras_vit.export.devserver.inference_service import InferenceService, message
from keras_vit.export.devserver.rest import RestError, Signature

ENCODED = {"image_bytes": (bytes, (None,))}
SIGNATURES = {
    one.name: one
    for one in (
        Signature("serving_default", ENCODED, {"classes": (bytes, (None, 1)), "scores": (np.float32, (None, 2))}),
        Signature("features", ENCODED, {"embedding": (np.float16, (None, 2))}),
        Signature("images", {"images": (np.float32, (None, 2, 1))}, {"sums": (np.int32, (None,))}),
        Signature("two", {"a": (np.uint8, (None,)), "f": (np.bool_, (None,))}, {"flags": (np.bool_, (None,))}),
        Signature("half", {"h": (np.float16, (None,))}, {"x": (np.float32, ())}),
    )
}
OUTPUTS = {
    "classes": np.array([[b"\xff"]], object),
    "scores": np.float32([[0.125, -2.5]]),
    "embedding": np.float16([[1, 2]]),
    "sums": np.int32([7, -8]),
    "flags": np.array([True, False]),
    "x": np.float32(0.5),
}


class Servables:
    """One model, "m", of version 3, which answers with OUTPUTS; "late" is not loaded yet."""

    number, signatures = 3, SIGNATURES

    def find(self, model, version=None):
        if (model, version or 3) != ("m", 3):
            raise RestError(404, f"Servable not found for request: {model}")
        return self

    def versions(self, model):
        return [3]

    def check_ready(self, model=None, version=None):
        if model is None or model == "late":
            raise RestError(503, "Not ready")
        self.find(model, version)

    def submit(self, name, inputs):
        self.asked, outputs = (name, inputs), Future()
        outputs.set_result({output: OUTPUTS[output] for output in SIGNATURES[name].outputs})
        return outputs


@pytest.fixture
def servables():
    return Servables()


def ask(servables, method, **fields):
    """The answer of a method, by its name."""
    call = InferenceService(Engine(servables)).methods()[f"/inference.GRPCInferenceService/{method}"]
    content = asyncio.run(call(message(f"{method}Request")(**fields).SerializeToString()))
    return message(f"{method}Response").FromString(content)


def infer(servables, *inputs, **fields):
    return ask(servables, "ModelInfer", model_name="m", inputs=inputs, **fields)


def tensor(name="image_bytes", datatype="BYTES", shape=(1,), **contents):
    filled = {"contents": contents} if contents else {}
    return {"name": name, "datatype": datatype, "shape": list(shape), **filled}


def test_typed_fields_get_typed_fields(servables):
    response = infer(servables, tensor(shape=[2], bytes_contents=[b"\xff\0", b""]), id="42", model_version="3")
    name, inputs = servables.asked
    assert name == "serving_default" and inputs["image_bytes"].tolist() == [b"\xff\0", b""]
    assert (response.model_name, response.model_version, response.id) == ("m", "3", "42")
    assert response.parameters["signature_name"].string_param == "serving_default"
    classes, scores = response.outputs
    assert (classes.name, classes.datatype, list(classes.shape)) == ("classes", "BYTES", [1, 1])
    assert list(classes.contents.bytes_contents) == [b"\xff"]
    assert (scores.name, scores.datatype, list(scores.contents.fp32_contents)) == ("scores", "FP32", [0.125, -2.5])
    assert not response.raw_output_contents


def test_raw_bytes_get_raw_bytes(servables):
    response = infer(servables, tensor(shape=[2]), raw_input_contents=[b"\2\0\0\0\xff\0\0\0\0\0"])
    assert servables.asked[1]["image_bytes"].tolist() == [b"\xff\0", b""]
    assert list(response.raw_output_contents) == [b"\1\0\0\0\xff", b"\0\0\0\x3e\0\0\x20\xc0"]
    assert not any(output.HasField("contents") for output in response.outputs)


def test_inputs_of_other_types(servables):
    two = (tensor("f", "BOOL", [2], bool_contents=[True, False]), tensor("a", "UINT8", [2], uint_contents=[0, 255]))
    response = infer(servables, *two)
    inputs = servables.asked[1]
    assert inputs["a"].tolist() == [0, 255] and inputs["f"].tolist() == [True, False] and inputs["f"].dtype == bool
    assert list(response.outputs[0].contents.bool_contents) == [True, False]
    response = infer(servables, tensor("images", "FP32", [1, 2, 1], fp32_contents=[1, -2.5]))
    assert servables.asked[1]["images"].tolist() == [[[1], [-2.5]]]
    assert list(response.outputs[0].contents.int_contents) == [7, -8]
    infer(servables, tensor("h", "FP16", [1]), raw_input_contents=[b"\0\x3c"])
    assert servables.asked[1]["h"].tolist() == [1]


def test_the_outputs_or_a_parameter_choose_the_signature(servables):
    image = tensor(bytes_contents=[b""])
    (output,) = infer(servables, image, outputs=[{"name": "embedding"}]).outputs
    assert servables.asked[0] == "features" and output.datatype == "FP16"
    response = infer(servables, image, parameters={"signature_name": {"string_param": "features"}})
    assert list(response.raw_output_contents) == [b"\0\x3c\0\x40"]  # there is no typed field of FP16
    assert [output.name for output in infer(servables, image, outputs=[{"name": "scores"}]).outputs] == ["scores"]


REFUSED = {
    "no inputs": ([], {}, r"No signature has the inputs \[\]"),
    "twice": ([tensor(bytes_contents=[b""])] * 2, {}, "a name that no other has"),
    "an output twice": ([tensor(bytes_contents=[b""])], {"outputs": [{"name": "scores"}] * 2}, "no other has"),
    "another type": ([tensor(datatype="UINT8", uint_contents=[1])], {}, "expecting datatype 'BYTES' but got: 'UINT8'"),
    "no type": ([tensor(datatype="", bytes_contents=[b""])], {}, "expecting datatype 'BYTES' but got: ''"),
    "another shape": ([tensor(shape=[1, 1], bytes_contents=[b""])], {}, "expecting shape"),
    "negative": ([tensor(shape=[-1], bytes_contents=[b""])], {}, "whole numbers"),
    "one for many": ([tensor(shape=[2**30], bytes_contents=[b""])], {}, "1073741824 elements .* but got: 1"),
    "another field": ([tensor(fp32_contents=[1])], {}, "1 elements in bytes_contents or raw_input_contents but got: 0"),
    "no contents": ([tensor()], {}, "but got: 0"),
    "both": ([tensor(bytes_contents=[b""])], {"raw_input_contents": [b"\0\0\0\0"]}, "either contents or raw"),
    "too many": ([tensor()], {"raw_input_contents": [b"\0\0\0\0"] * 2}, "as many raw_input_contents as inputs"),
    "other bytes": ([tensor()], {"raw_input_contents": [b"\1\0\0\0"]}, "expecting 1 elements with four bytes"),
    "does not fit": (
        [tensor("a", "UINT8", uint_contents=[256]), tensor("f", "BOOL", bool_contents=[True])],
        {},
        "an element does not fit uint8",
    ),
    "halves": ([tensor("h", "FP16", fp32_contents=[1])], {}, "1 elements in raw_input_contents but got: 0"),
    "a version that is none": ([tensor(bytes_contents=[b""])], {"model_version": "v3"}, "Failed to convert version"),
    "a signature that is none": ([tensor()], {"parameters": {"signature_name": {"int64_param": 1}}}, "no signature ''"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_requests_that_are_refused(servables, name):
    inputs, fields, problem = REFUSED[name]
    with pytest.raises(RestError, match=problem) as error:
        infer(servables, *inputs, **fields)
    assert error.value.status == 400


def test_the_server_and_its_models(servables):
    assert ask(servables, "ServerLive").live and not ask(servables, "ServerReady").ready
    assert ask(servables, "ModelReady", name="m").ready and not ask(servables, "ModelReady", name="late").ready
    for version in ("", "3"):
        described = ask(servables, "ModelMetadata", name="m", version=version)
        assert (described.name, list(described.versions), described.platform) == ("m", ["3"], "tensorflow_savedmodel")
        assert [(one.name, one.datatype, list(one.shape)) for one in described.inputs] == [
            ("image_bytes", "BYTES", [-1])
        ]
        assert [(one.name, list(one.shape)) for one in described.outputs] == [("classes", [-1, 1]), ("scores", [-1, 2])]
    assert ask(servables, "ServerMetadata").name == "keras_vit"
    for method, fields in (("ModelReady", {"name": "x"}), ("ModelMetadata", {"name": "m", "version": "4"})):
        with pytest.raises(RestError) as error:
            ask(servables, method, **fields)
        assert error.value.status == 404


@pytest.mark.parametrize("method", ["ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelInfer"])
def test_bytes_that_are_no_message(servables, method):
    call = InferenceService(Engine(servables)).methods()[f"/inference.GRPCInferenceService/{method}"]
    with pytest.raises(RestError, match=f"The message is no {method}Request") as error:
        asyncio.run(call(b"\xff\xff"))
    assert error.value.status == 400
