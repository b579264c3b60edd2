import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vit
from keras_vit.tf_graph.inference_form import inference_form
from keras_vit.tf_graph.tracing import NoInferenceForm
from tests.models.toys import TOYS
from tests.tf_graph.made import difference, draw, form_of, toy, with_drawn_weights

QUICK = ("vit", "convnext", "swin", "hybrid_stem")
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in TOYS if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *OTHERS])
def test_every_family_gives_the_same_logits(name):
    assert difference(toy(name), form_of(name)) <= 1e-5


PUBLISHED = ("ViTTi16", "SwinT", "ConvNeXtAtto", "ViTR26S32", "CoaTLiteTiny", "T2TViTT14", "PVTV2B0", "TNTTi")


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_give_the_same_logits(name):
    model = with_drawn_weights(keras_vit.create_model(name, weights=None, classifier_activation=None))
    assert difference(model, inference_form(model), number=1) <= 1e-5


def operators(name):
    return form_of(name).graph.kinds()


def test_a_vit_has_no_scale_and_shift_of_its_norms_and_no_factor_of_its_queries():
    found = operators("vit")
    norms, blocks = 5, 2
    assert found["Rsqrt"] == found["Sub"] == norms
    assert found["Mul"] == norms + 3 * blocks  # (x - mean) r; GELU's x / 2, x / sqrt(2), and the product of both
    additions = norms + 2 * blocks + blocks + 1  # epsilon, residuals, GELU's 1 + erf, positions
    assert found["AddV2"] == additions and found["BiasAdd"] == found["MatMul"] + found["Conv2D"]


def test_a_vit_computes_with_no_sizes_but_that_of_the_batch():
    found = operators("vit")
    assert found["Shape"] == 1 and not {"Prod", "GatherV2", "Neg", "Erfc"} & set(found)


def test_a_hybrid_standardises_no_kernels():
    model, found = toy("hybrid_stem"), operators("hybrid_stem")
    norms = sum("norm" in weight.path and "gamma" in weight.path for weight in model.weights)
    assert found["Rsqrt"] == norms  # one per normalisation of activations, none per kernel


def test_swin_gathers_no_biases_and_adds_them_and_the_mask_at_once():
    found = operators("swin")
    assert not {"GatherV2", "Less", "SelectV2", "ExpandDims"} & set(found)
    assert found["Softmax"] == 4 and found["Roll"] == 4  # two of the four blocks are shifted, and back


@pytest.mark.parametrize("size", [0, 1, 4])
def test_a_batch_of_any_size(size):
    model, form = toy("vit"), form_of("vit")
    images = draw(size, *form.shape)
    given = form.function()(images)["output"].numpy()
    assert given.shape == (size, 6)
    if size:
        np.testing.assert_allclose(given, model(images, training=False), atol=1e-5 * given.std())


def test_the_graph_has_named_ends():
    definition = form_of("vit").graph_def()
    nodes = {node.name: node for node in definition.node}
    assert nodes["images"].op == "Placeholder" and nodes["output"].op == "Identity"
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            assert session.run("output:0", {"images:0": np.zeros((2, 40, 48, 3))}).shape == (2, 6)


def test_outputs_of_functions_share_what_they_have_in_common():
    model, shape = toy("vit"), TOYS["vit"][1]
    features = keras.Model(model.input, model.get_layer("norm").output)
    both = inference_form(
        lambda x: {"logits": model(x, training=False), "norm": features(x, training=False)}, shape=shape
    )
    assert both.outputs == ("logits", "norm")
    assert both.graph.kinds()["MatMul"] == operators("vit")["MatMul"]
    images = draw(2, *shape)
    given = both.function()(images)
    for name, one in (("logits", model), ("norm", features)):
        expected = np.asarray(one(images, training=False))
        np.testing.assert_allclose(given[name], expected, atol=1e-5 * expected.std())


def test_an_output_may_be_called_as_an_operator_is():
    form = inference_form(lambda x: {"Relu": tf.nn.relu(x), "Relu_1": tf.nn.relu(tf.nn.relu(-x) - 1.0)}, (2, 2, 3))
    images = draw(1, 2, 2, 3)
    given = form.function()(images)
    np.testing.assert_array_equal(given["Relu"], np.maximum(images, 0))
    np.testing.assert_array_equal(given["Relu_1"], np.maximum(np.maximum(-images, 0) - 1, 0))


def test_no_output_may_be_called_as_the_input_is():
    with pytest.raises(ValueError, match="'images'.*rename it"):
        inference_form(lambda x: {"images": x + 1.0}, shape=(2, 2, 3))


def test_another_keras_model_with_batch_norm():
    image = keras.Input((12, 10, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False)(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    model = keras.Model(image, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x)))
    for weight in model.weights:
        weight.assign(np.abs(draw(*weight.shape)) + 0.2 if "variance" in weight.path else draw(*weight.shape))
    form = inference_form(model)
    assert difference(model, form) <= 1e-5
    assert not {"Mul", "AddV2", "Sub", "Rsqrt"} & set(form.graph.kinds())


def test_a_free_size_is_refused():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    with pytest.raises(ValueError, match="images of one size.*Received: \\(None, None, 3\\).*shape=\\(H, W, C\\)"):
        inference_form(model)
    assert difference(model, inference_form(model, shape=(5, 6, 3))) <= 1e-5


def test_look_ups_in_tables_have_no_form():
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [1.0]), -1.0)
    with pytest.raises(NoInferenceForm):
        inference_form(lambda x: x + table.lookup(tf.zeros(1, tf.int32)), shape=(2, 2, 3))


def test_constants_are_refused_that_no_graph_holds(monkeypatch):
    monkeypatch.setattr("keras_vit.tf_graph.tracing.LIMIT", 1000)
    form = form_of("vit")
    assert difference(toy("vit"), form) <= 1e-5  # with variables there is no limit
    for make in (form.graph_def, lambda: form.function(constants=True)):
        with pytest.raises(NoInferenceForm, match="below 2 GiB"):
            make()


def test_weights_are_variables_or_constants(monkeypatch):
    monkeypatch.setattr("keras_vit.tf_graph.inference_form.LARGE", 3000)
    form, images = inference_form(toy("vit")), draw(2, *TOYS["vit"][1])
    with_variables, again, with_constants = form.function(), form.function(), form.function(constants=True)
    large = [value for value in form.graph.constants.values() if value.nbytes >= 3000]
    assert len(with_variables.variables) == len(form.variables) == len(large) > 4
    assert {one.ref() for one in again.variables} == {one.ref() for one in with_variables.variables}
    assert not with_constants.variables
    given = with_variables(tf.constant(images))["output"]
    np.testing.assert_allclose(given, with_constants(tf.constant(images))["output"], rtol=1e-5, atol=1e-6)
