"""A classifier of red, green and blue images as every kind of artifact.

The probabilities are softmax(4 * mean of the normalised pixels per channel); `expected` computes them in numpy.
"""

import numpy as np

from keras_vit.preprocessing import Spec, read_image, resize
from keras_vit.sources.run_folder import Run

LABELS = ("red", "green", "deep blue")
SPEC = Spec((6, 8), (0.45, 0.5, 0.5), (0.2, 0.25, 0.3), crop_pct=0.8)
SHARPNESS = 4.0


def expected(images, spec=SPEC):
    """The probabilities (B, 3) of uint8 images or paths."""
    rows = []
    for image in images:
        image = image if isinstance(image, np.ndarray) else read_image(image)
        x = (resize(image, spec).numpy() / 255 - np.array(spec.mean)) / np.array(spec.std)
        e = np.exp(SHARPNESS * x.mean((0, 1)))
        rows.append(e / e.sum())
    return np.array(rows)


def random_images(sizes=((10, 30), (25, 9), (6, 8), (12, 12))):
    """Noise of several sizes, the first three with one channel brighter than the others."""
    rng = np.random.default_rng(0)
    images = [rng.integers(60, 190, (*size, 3), np.uint8) for size in sizes]
    for channel, image in enumerate(images[:3]):
        image[..., channel] += 65
    return images


def keras_model(activation="softmax"):
    """The classifier as a Keras model of normalised images."""
    import keras

    image = keras.Input((*SPEC.size, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    head = keras.layers.Dense(3, activation=activation, use_bias=False)
    model = keras.Model(image, head(x))
    head.set_weights([np.eye(3) * SHARPNESS])
    return model


def write_run(folder, name="colours"):
    """A run folder."""
    Run.write_description(folder, name=name, model_name="Toy", labels=LABELS, spec=SPEC)
    keras_model().save(folder / "model.keras")
    return folder


def probabilities(images):
    """The same of a batch of resized images, (B, H, W, 3) in [0, 255], in TensorFlow."""
    import tensorflow as tf

    x = (tf.cast(images, tf.float32) / 255.0 - np.float32(SPEC.mean)) / np.float32(SPEC.std)
    return tf.nn.softmax(SHARPNESS * tf.reduce_mean(x, (1, 2)))


def write_saved_model(folder, signatures=("serving_default", "predict_images"), assets=True):
    """A SavedModel's version folder with the signatures of the exporter."""
    import tensorflow as tf

    from keras_vit.preprocessing import decode_and_resize

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, *SPEC.size, 3], tf.float32, name="images")])
    def predict_images(images):
        return {"probabilities": probabilities(images)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def classify(image_bytes):
        scores, ids = tf.math.top_k(probabilities(decode_and_resize(image_bytes, SPEC)), 2)
        classes = tf.gather(tf.constant(LABELS), ids)
        return {"classes": classes, "scores": scores, "class_ids": ids}

    functions = {"serving_default": classify, "predict_images": predict_images}
    chosen = {name: functions[name] for name in signatures}
    tf.saved_model.save(module, str(folder), chosen)
    if assets:
        (folder / "assets").mkdir(exist_ok=True)
        write_beside(folder / "assets")
    return folder


def write_tflite(path, quantized_input=False):
    """A `.tflite` of one float32 image, or of a uint8 one with uint8 probabilities."""
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec([1, *SPEC.size, 3], tf.float32)
    module.call = tf.function(probabilities, input_signature=[spec])
    concrete = module.call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if quantized_input:
        rng = np.random.default_rng(0)
        corners = [np.zeros((1, *SPEC.size, 3)), np.full((1, *SPEC.size, 3), 255)]
        noise = [rng.uniform(60, 200, (1, *SPEC.size, 3)) for _ in range(20)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x.astype("float32")] for x in corners + noise)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    path.write_bytes(converter.convert())
    return path


def write_beside(folder):
    """labels.txt and preprocessing.json."""
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    SPEC.save(folder / "preprocessing.json")
