"""The inference form of a model: the same function, with all that does not depend on the image computed once.

Standardised kernels, Swin's biases with their masks, resampled tables: constants. LayerNorm's scale and shift, layer
scale, BatchNorm, the query's factor and the normalisation of pixels: in the weights of the dense layer or convolution
beside them. What the model gives stays the same but for rounding, some 1e-6 of the standard deviation of its logits.
"""

from keras_vit.system.graphs import without_autograph
from keras_vit.tf_graph.affine import fold_into_next, fold_into_previous
from keras_vit.tf_graph.constants import fold_constants
from keras_vit.tf_graph.layout import biases_beside_products, gelu_by_erf
from keras_vit.tf_graph.normalisations import separate_normalisations
from keras_vit.tf_graph.shapes import remove_idle
from keras_vit.tf_graph.tracing import INPUT, check_size, trace

LARGE = 2**16  # bytes, from which constants are weights, which can be variables
PASSES = (
    fold_constants,
    remove_idle,
    separate_normalisations,
    biases_beside_products,
    fold_into_previous,
    fold_into_next,
    fold_constants,
    gelu_by_erf,
)


class InferenceForm:
    """A function of images, and its weights.

    Attributes:
        graph: its `keras_vit.tf_graph.graph.Graph`, in which the weights are constants.
        shape: of its images, (H, W, C).
    """

    def __init__(self, graph, shape):
        self.graph, self.shape, self._variables = graph, shape, {}

    @property
    def outputs(self):
        """The names of its outputs."""
        return tuple(self.graph.outputs)

    @property
    def variables(self):
        """The tf.Variables that its functions take, once there is one."""
        return tuple(self._variables.values())

    def graph_def(self):
        """Its GraphDef: a Placeholder "images", float32 (B, H, W, C), and an operator per output, of its name.

        tf2onnx takes it as it is: `tf2onnx.convert.from_graph_def(form.graph_def(), input_names=["images:0"],
        output_names=["probabilities:0"])`.

        Raises:
            NoInferenceForm: for weights of 2 GiB and more.
        """
        check_size(self.graph.size())
        return self.graph.graph_def()

    def function(self, constants=False):
        """Its concrete function: images float32 (B, H, W, C) -> {name: tensor}. All that call it store it once.

        Args:
            constants: whether the weights are constants of the graph, below 2 GiB. TensorFlow keeps a dozen copies of
                a graph's constants where it loads it, and some more for every signature: variables by default.
        """
        import tensorflow as tf

        if constants:
            content, weights = self.graph_def(), {}
        else:
            weights = self._variables = self._variables or self._as_variables()
            content = self.graph.graph_def(set(weights))

        def compute(images):
            given = {INPUT: images} | {tensor: value.read_value() for tensor, value in weights.items()}
            found = tf.graph_util.import_graph_def(content, given, [f"{name}:0" for name in self.outputs], name="")
            return dict(zip(self.outputs, found))

        images = tf.TensorSpec([None, *self.shape], tf.float32, name=INPUT)
        return tf.function(compute, autograph=False).get_concrete_function(images)

    def _as_variables(self):
        """{tensor: variable} of the constants that are weights."""
        import tensorflow as tf

        large = {tensor: values for tensor, values in self.graph.constants.items() if values.nbytes >= LARGE}
        return {tensor: tf.Variable(values, trainable=False) for tensor, values in large.items()}


@without_autograph
def inference_form(model, shape=None):
    """The inference form of a model, or of another function of images.

    Args:
        model: a `keras.Model` on TensorFlow with one input (B, H, W, C); or a function that TensorFlow can trace, of
            images to a tensor or {name: tensor}. Without a name, outputs are "output", or "output_0", ... of several.
        shape: (H, W, C) of the images; by default that of the model's input.

    Returns:
        An `InferenceForm`.

    Raises:
        ValueError: for another backend than TensorFlow, and for a free height or width.
        NoInferenceForm: a ValueError too, for a function that takes more than images and variables, as look-ups in
            tables do.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"An inference form is a TensorFlow graph. Received: KERAS_BACKEND={keras.backend.backend()}; unset it."
        )
    shape = tuple(model.inputs[0].shape[1:]) if shape is None else tuple(shape)
    if len(shape) != 3 or None in shape:
        raise ValueError(
            f"An inference form takes images of one size, (H, W, C). Received: {shape}; give shape=(H, W, C), or the "
            "model of one size, keras_vit.at_image_size(model, size)."
        )
    graph = trace(model, shape)
    for change in PASSES:
        change(graph)
    graph.merge_equal()
    return InferenceForm(graph, shape)
