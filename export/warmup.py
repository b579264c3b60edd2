"""Requests that TF Serving answers for itself before it serves a version, so that the first user does not wait.

assets.extra/tf_serving_warmup_requests is a TFRecord file of PredictionLog messages (tensorflow_serving/apis), one for
each signature and each batch size that batching.config allows. The messages are small and made here, field by field:

    PredictionLog { predict_log = 6 { request = 1 { model_spec = 1 { name = 1, signature_name = 3 },
                                                    inputs = 2 { key = 1, value = 2 TensorProto } } } }
"""

import numpy as np
import tensorflow as tf

PATH = "assets.extra/tf_serving_warmup_requests"
MOST = 1000  # records; TF Serving reads no more


def write_requests(path, model, signatures, image_size, batch_sizes):
    """Write the requests as a TFRecord file.

    Args:
        path: of the file.
        model: the model's name.
        signatures: names of the signatures and of their inputs, {"features": "image_bytes", ...}.
        image_size: (H, W) of the model's images.
        batch_sizes: one request of each per signature.
    """
    tensors = {"image_bytes": encoded_pictures, "images": grey_images}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, name in signatures.items():
            for batch in batch_sizes:
                tensor = tensors[name](batch, image_size)
                writer.write(prediction_log(predict_request(model, signature, {name: tensor})))


def encoded_pictures(batch, size):
    """A TensorProto of JPEGs, string (B)."""
    shades = np.add.outer(np.arange(size[0]), np.arange(size[1])) % 256
    picture = tf.io.encode_jpeg(np.repeat(shades[..., np.newaxis], 3, -1).astype("uint8")).numpy()
    return tf.make_tensor_proto([picture] * batch)


def grey_images(batch, size):
    """A TensorProto of images, float32 (B, H, W, 3); one value stands for all of them."""
    return tf.make_tensor_proto(127.5, tf.float32, (batch, *size, 3))


def predict_request(model, signature, inputs):
    """The bytes of a PredictRequest; `inputs` are TensorProtos by name."""
    spec = field(1, model.encode()) + field(3, signature.encode())
    entries = (field(1, name.encode()) + field(2, tensor.SerializeToString()) for name, tensor in inputs.items())
    return field(1, spec) + b"".join(field(2, entry) for entry in entries)


def prediction_log(request):
    """The bytes of the PredictionLog of a PredictRequest."""
    return field(6, field(1, request))


def field(number, content):
    """One field of a protocol buffer with contents of any length: its number and wire type 2, the length, the bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number):
    """A whole number, seven bits a byte, the lowest first; the top bit says that more follow."""
    bits = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(low | 128 for low in bits[:-1]), bits[-1]])
