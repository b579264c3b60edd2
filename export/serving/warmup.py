"""Warm-up requests: TF Serving runs them before it serves a version, so that the first user does not wait.

assets.extra/tf_serving_warmup_requests is a TFRecord file of PredictionLog messages (tensorflow_serving/apis), one for
each signature and each batch size that batching.config allows.
"""

import numpy as np
import tensorflow as tf

from keras_vit.export.serving import messages

PATH = "assets.extra/tf_serving_warmup_requests"


def write_requests(path, model, signatures, image_size, batch_sizes):
    """Write the requests as a TFRecord file.

    Args:
        path: of the file.
        model: the model's name.
        signatures: {name of a signature: name of its input}, e.g. {"features": "image_bytes"}.
        image_size: (H, W) of the model's images.
        batch_sizes: of the requests for each signature.
    """
    tensors = {"image_bytes": encoded_images, "images": grey_images}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, name in signatures.items():
            for batch in batch_sizes:
                tensor = tensors[name](batch, image_size)
                writer.write(prediction_log(model, signature, {name: tensor}).SerializeToString())


def encoded_images(batch, size):
    """A TensorProto of JPEGs, string (B)."""
    shades = np.add.outer(np.arange(size[0]), np.arange(size[1])) % 256
    image = tf.io.encode_jpeg(np.repeat(shades[..., np.newaxis], 3, -1).astype("uint8")).numpy()
    return tf.make_tensor_proto([image] * batch)


def grey_images(batch, size):
    """A TensorProto of images, float32 (B, H, W, 3); it stores a single value for all pixels."""
    return tf.make_tensor_proto(127.5, tf.float32, (batch, *size, 3))


def prediction_log(model, signature, inputs):
    """The PredictionLog message of a request; `inputs` are TensorProtos by name."""
    log = messages.new("PredictionLog")
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, tensor in inputs.items():
        request.inputs[name] = tensor.SerializeToString()
    return log
