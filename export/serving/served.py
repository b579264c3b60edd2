"""What a SavedModel for TF Serving computes.

serving_default   image_bytes string (B)  ->  classes string (B, k), scores float32 (B, k), class_ids int32 (B, k),
                  the k best, best first. JPEG, PNG, WebP, plain BMP and GIF (first frame), turned upright as their
                  orientation note says. An image that cannot be decoded as Pillow would, or has more than 89 million
                  pixels, gets classes "", scores 0 and class_ids -1, and does not affect the others.
                  Of several labels per image they are those whose probabilities reach their thresholds, the k best of
                  them where there are more; the places left over have classes "", scores 0 and class_ids -1, and an
                  output decoded bool (B) tells an image that has none of the classes from one that is no image.
                  Of a model that can tell unknown images also known_score float32 (B) and unknown bool (B): true if
                  that score is below the model's threshold, and for an image that cannot be decoded.
predict_images    images float32 (B, H, W, 3) in [0, 255], of the model's size  ->  probabilities float32 (B, K), and
                  of a model that can tell unknown images known_score float32 (B)
features          image_bytes string (B)  ->  embedding float32 (B, D), penultimate-layer features: include_top=False
                  with the classifier's pooling. Zeros for an image that cannot be decoded. Absent for a model whose
                  classifier is not a Dense layer.

Of a model without a classifier, assets/ has no labels, assets.extra/index.npz the stored vectors if there are any, and

serving_default   image_bytes  ->  its features by name, float32 (B, D) or maps (B, H', W', C), and decoded bool (B);
                  zeros and false for an image that cannot be decoded
predict_images    images  ->  its features by name

Of a model of any size also, for images of any size that it takes, all of a batch of the same (of a model without a
classifier its features by name, as features_of_images):

features_of_images  images float32 (B, H, W, 3) in [0, 255]  ->  embedding float32 (B, D)
maps_of_images      images float32 (B, H, W, 3) in [0, 255]  ->  P2 to P5, the maps of the stages, float32
                    (B, H', W', C); of a model of one resolution map, that of the last block

The first three compute the model's inference form (`keras_vit.tf_graph`), stored once for all three; a signature does
not compute what it does not give. Its weights are variables: as constants they take a dozen times their size (a Python
process that loads ViTS16, 85 MB: 2.1 GB where 0.9 are enough, and some 0.55 more for each signature that is
used). Those of images of any size compute the model itself, and where there are such, the others do so too, with the
same variables.

A batch may be empty; its outputs are empty then. No output's name ends in _bytes: TF Serving's REST interface would
encode it in base64.
"""

import tensorflow as tf

from keras_vit.export.model.features import features, signatures_of_images, takes_any_size
from keras_vit.export.model.inference import outputs as outputs_of
from keras_vit.export.serving.decoding import decode_or_skip
from keras_vit.tf_graph.inference_form import inference_form
from keras_vit.tf_graph.tracing import NoInferenceForm

TOP_K = 5  # classes in an answer
NO_CLASS = -1.0  # a score below all others
EMBEDDING = "embedding"


class ServedModel(tf.Module):
    """The object that is saved: the model, its signatures, and the files that become assets."""

    def __init__(self, source, top_k, asset_files):
        super().__init__(name="served_model")
        classes = len(source.labels)
        self._top_k = min(top_k or (classes if source.answers.multi_label else TOP_K), classes)
        least, unknown = source.answers.least(classes), source.answers.unknown
        self._least = None if least is None else tf.constant(least)
        self._known_from = unknown and tf.constant(unknown["threshold"])
        self._names = tf.constant([*source.labels, ""])  # "": for images that cannot be decoded
        self.parameter_count = tf.Variable(source.model.count_params(), trainable=False, dtype=tf.int64)
        self.assets = [tf.saved_model.Asset(str(path)) for path in asset_files]
        images = tf.TensorSpec([None, *source.spec.size, 3], tf.float32, name="images")
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
        # What two signatures share is a function of its own, traced and stored once; `servables` calls _decode too.
        self._decode = tf.function(lambda files: decode_or_skip(files, source.spec), [encoded], autograph=False)
        self._has_features = features(source) is not None
        compute, self.parameters = _compiled(source, _with_embedding(source))
        self._outputs = tf.function(_or_empty(compute), [images], autograph=False)
        any_size = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
        self.of_images = {
            name: tf.function(_or_empty(function), [any_size], autograph=False)
            for name, function in (signatures_of_images(source) if takes_any_size(source) else {}).items()
        }
        self.predict_images = tf.function(self._predict_images, [images], autograph=False)
        self.classify = tf.function(self._classify, [encoded], autograph=False)
        self.embed = tf.function(self._embed, [encoded], autograph=False) if self._has_features else None

    @property
    def signatures(self):
        """{name: function} of the signatures."""
        named = {"serving_default": self.classify, "predict_images": self.predict_images, "features": self.embed}
        return {name: function for name, function in named.items() if function} | self.of_images

    def _predict_images(self, images):
        return {name: given for name, given in self._outputs(images).items() if name != EMBEDDING}

    def _classify(self, image_bytes):
        images, decoded = self._decode(image_bytes)
        found = self._outputs(images)
        scores, given = found["probabilities"], decoded[:, tf.newaxis]
        if self._least is not None:
            given &= scores >= self._least
        scores, class_ids = tf.math.top_k(tf.where(given, scores, NO_CLASS), self._top_k, sorted=True)
        given = scores != NO_CLASS  # B k
        nameless = tf.size(self._names) - 1
        answer = {
            "classes": tf.gather(self._names, tf.where(given, class_ids, nameless)),
            "scores": tf.where(given, scores, 0.0),
            "class_ids": tf.where(given, class_ids, -1),
        }
        if self._least is not None:
            answer["decoded"] = decoded
        if self._known_from is not None:
            answer["known_score"] = tf.where(decoded, found["known_score"], 0.0)
            answer["unknown"] = ~decoded | (found["known_score"] < self._known_from)
        return answer

    def _embed(self, image_bytes):
        images, decoded = self._decode(image_bytes)
        return {EMBEDDING: tf.where(decoded[:, tf.newaxis], self._outputs(images)[EMBEDDING], 0.0)}


def _with_embedding(source):
    """images of the model's size -> {name: tensor} of all that a classifier gives, and the embedding if it has one."""
    outputs, embed = outputs_of(source), features(source)
    return lambda images: outputs(images) | ({EMBEDDING: embed(images)} if embed else {})


def _compiled(source, compute):
    """(The inference form of a function of images of the model's size, or itself; the variables that it takes)."""
    variables = [weight.value for weight in source.model.weights]
    if takes_any_size(source):
        return compute, variables
    try:
        form = inference_form(compute, (*source.spec.size, 3))
    except NoInferenceForm:
        return compute, variables
    return form.function(), list(form.variables)


class ServedFeatures(tf.Module):
    """The object that is saved of a model without a classifier; see `ServedModel`."""

    def __init__(self, source, asset_files):
        super().__init__(name="served_features")
        self.parameter_count = tf.Variable(source.model.count_params(), trainable=False, dtype=tf.int64)
        self.assets = [tf.saved_model.Asset(str(path)) for path in asset_files]
        images = tf.TensorSpec([None, *source.spec.size, 3], tf.float32, name="images")
        any_size = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
        compute, self.parameters = _compiled(source, outputs_of(source))
        self._decode = tf.function(lambda files: decode_or_skip(files, source.spec), [encoded], autograph=False)
        self._outputs = tf.function(_or_empty(compute), [images], autograph=False)
        self.predict_images = tf.function(lambda images: dict(self._outputs(images)), [images], autograph=False)
        self.of_files = tf.function(self._of_files, [encoded], autograph=False)
        of_images = tf.function(_or_empty(outputs_of(source)), [any_size], autograph=False)
        self.of_images = of_images if takes_any_size(source) else None

    @property
    def signatures(self):
        """{name: function} of the signatures."""
        named = {"serving_default": self.of_files, "predict_images": self.predict_images}
        return named | ({"features_of_images": self.of_images} if self.of_images else {})

    def _of_files(self, image_bytes):
        images, decoded = self._decode(image_bytes)
        found = dict(self._outputs(images))
        given = {
            name: tf.where(tf.reshape(decoded, [-1] + [1] * (len(values.shape) - 1)), values, 0.0)
            for name, values in found.items()
        }
        return {**given, "decoded": decoded}


def _or_empty(predict):
    """`predict` for empty batches too, which models cannot reshape: a black image is added and its output removed."""

    def or_empty(images):
        batch, sizes = tf.shape(images)[0], images.shape[1:]
        one = (1, *sizes) if sizes.is_fully_defined() else tf.concat([[1], tf.shape(images)[1:]], 0)
        filled = tf.cond(batch > 0, lambda: images, lambda: tf.zeros(one))
        return tf.nest.map_structure(lambda outputs: outputs[:batch], predict(filled))

    return or_empty
