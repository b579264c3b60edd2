"""Warm-up requests, read with TF Serving's own message classes, and run by the model."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_vit.export.serving import warmup
from keras_vit.export.serving.saved_model import BATCH_SIZES
from tests.export import toys


@pytest.fixture(scope="module")
def requests(exported):
    records = tf.data.TFRecordDataset(str(exported[1] / warmup.PATH)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    assert all(log.WhichOneof("log_type") == "predict_log" for log in logs)
    return [log.predict_log.request for log in logs]


def test_one_request_for_each_signature_and_batch_size(requests):
    found = [(request.model_spec.signature_name, *request.inputs) for request in requests]
    names = {"serving_default": "image_bytes", "predict_images": "images", "features": "image_bytes"}
    assert found == [(signature, name) for signature, name in names.items() for _ in BATCH_SIZES]
    sizes = [[t.tensor_shape.dim[0].size for t in request.inputs.values()] for request in requests]
    assert sizes == [[batch] for _ in names for batch in BATCH_SIZES]
    assert {request.model_spec.name for request in requests} == {"toys"}
    assert len(requests) <= 1000  # TF Serving reads no more


def test_the_model_runs_every_request(requests, exported):
    signatures = tf.saved_model.load(str(exported[1])).signatures
    for request in requests:
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        outputs = signatures[request.model_spec.signature_name](**inputs)
        batch = len(next(iter(inputs.values())))
        assert {len(output) for output in outputs.values()} == {batch}
        assert "class_ids" not in outputs or (outputs["class_ids"].numpy() >= 0).all()


def test_a_request_is_what_a_grpc_client_would_send():
    image = tf.make_tensor_proto(np.arange(24.0).reshape(1, 2, 4, 3), tf.float32)
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "a" * 300, "predict_images"
    request.inputs["images"].CopyFrom(image)
    written = warmup.prediction_log("a" * 300, "predict_images", {"images": image})
    assert written.SerializeToString() == log.SerializeToString()


def test_images_take_little_space(requests):
    images = [request.inputs["images"] for request in requests if "images" in request.inputs]
    assert max(tensor.ByteSize() for tensor in images) < 100
    assert (tf.make_ndarray(images[-1]) == np.full((32, *toys.SIZE, 3), 127.5)).all()
