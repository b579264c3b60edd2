"""Models of any size against models that are built for one size and load the same file, family by family.

The file is that of a model of the native size, so that its tables are resampled twice: by numpy when the model of a
fixed size loads them, and in the graph.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.weights.resample import resample_grid
from tests.golden.seeded import seeded, seeded_image
from tests.models.cases import params
from tests.models.toys import TOYS

TOLERANCE = 1e-5  # of the standard deviation of the logits
CLASSES = 5
SIZES = (  # pixels, of every shape; what is no multiple is padded
    *((32, 512), (100, 100), (123, 457), (224, 224), (480, 640), (123, 123), (64, 64), (65, 64), (64, 65), (96, 160)),
    *((160, 96), (40, 48), (97, 31), (256, 33), (200, 120), (112, 144), (127, 255), (71, 89), (288, 192), (36, 300)),
)
FEW = ((64, 96), (71, 33))
EVERY = pytest.mark.parametrize("toy", TOYS)


def build(toy, **changes):
    """A toy with logits for five classes, of any size and padding unless `changes` say otherwise."""
    variant, native = TOYS[toy]
    shape = {"input_shape": (None, None, 3), "native_size": native[:2], "dynamic_img_pad": True}
    head = {"classes": CLASSES, "classifier_activation": None}
    return variant(**{"weights": None, **shape, **head, **changes})


def seed(model):
    """Weights of which every one matters, drawn from their names."""
    for variable in model.weights:
        variable.assign(seeded(variable.path, tuple(variable.shape)).astype("float32"))
    return model


@pytest.fixture(scope="module")
def native_file(tmp_path_factory):
    """The .keras file of a toy of its native size, made once."""
    folder, made = tmp_path_factory.mktemp("native"), {}

    def path(toy):
        if toy not in made:
            made[toy] = str(folder / f"{toy}.keras")
            fixed = {"input_shape": TOYS[toy][1], "native_size": None, "dynamic_img_pad": False}
            seed(build(toy, **fixed)).save(made[toy])
        return made[toy]

    return path


def built_for(size, toy, path):
    """The model of a fixed size."""
    return build(toy, weights=path, input_shape=(*size, 3), native_size=None)


def in_graph(model):
    """The model as a TensorFlow graph that does not know the sizes."""
    signature = [tf.TensorSpec([None, None, None, 3], "float32")]
    return tf.function(lambda x: model(x, training=False), input_signature=signature)


def difference(made, expected):
    expected = keras.ops.convert_to_numpy(expected)
    return np.abs(keras.ops.convert_to_numpy(made) - expected).max() / expected.std()


def compare(toy, sizes, path):
    """Outputs of each size, in a graph and eagerly."""
    model = build(toy, weights=path)
    graph = in_graph(model)
    for size in sizes:
        images = seeded_image(7, *size, count=2 if size[0] * size[1] < 2**15 else 1)
        expected = built_for(size, toy, path)(images, training=False)
        assert difference(graph(images), expected) <= TOLERANCE, (size, "in a graph")
        assert difference(model(images, training=False), expected) <= TOLERANCE, (size, "eagerly")


@pytest.mark.parametrize("toy", params(("swin",)))
def test_outputs_are_those_of_a_model_built_for_the_size(toy, native_file):
    compare(toy, FEW, native_file(toy))


@pytest.mark.slow
@EVERY
def test_outputs_of_twenty_sizes_are_those_of_models_built_for_them(toy, native_file):
    compare(toy, SIZES, native_file(toy))


@pytest.mark.parametrize("toy", params(("vit",)))
@pytest.mark.parametrize("size", [pytest.param(FEW[0], marks=pytest.mark.slow), FEW[1]])
def test_gradients_are_those_of_a_model_built_for_the_size(toy, size, native_file):
    model, fixed = build(toy, weights=native_file(toy)), built_for(size, toy, native_file(toy))
    images = tf.constant(seeded_image(8, *size, count=2))

    def gradients(model, images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_mean(model(images, training=False)[:, 1])  # T2T-ViT's module drops at random
        return tape.gradient(loss, [images, *(v.value for v in model.trainable_variables)])

    traced = tf.function(
        lambda images: gradients(model, images), input_signature=[tf.TensorSpec([None, None, None, 3], "float32")]
    )
    of_image, *made = traced(images)
    expected_of_image, *expected = gradients(fixed, images)
    assert difference(of_image, expected_of_image) <= 20 * TOLERANCE
    for ours, theirs, own, other in zip(model.trainable_variables, fixed.trainable_variables, made, expected):
        assert ours.path == theirs.path
        if ours.shape == theirs.shape and not is_resampled(ours, theirs):
            scale = np.abs(other).max() + 1e-6 * np.abs(ours).max()
            assert np.abs(own - other).max() <= 20 * TOLERANCE * scale, ours.path
        else:  # the fixed table is R t, with R linear: its gradient g gives t's as R^T g, and so g.(R t) = (R^T g).t
            along, expected_along = (float(tf.reduce_sum(g * v)) for g, v in ((own, ours.value), (other, theirs.value)))
            assert abs(along - expected_along) <= 20 * TOLERANCE * max(abs(expected_along), float(np.abs(other).max()))


def is_resampled(variable, other):
    """Whether a model of a fixed size got another table: of as many positions, on another grid."""
    return not np.array_equal(variable.numpy(), other.numpy())


@pytest.mark.parametrize("toy", params(("vit",)))
def test_weights_and_keras_files_go_both_ways_unchanged(toy, native_file, tmp_path):
    model, native = build(toy, weights=native_file(toy)), keras.saving.load_model(native_file(toy))
    assert [v.path for v in model.weights] == [v.path for v in native.weights]
    same(model, native)
    model.save(tmp_path / "any.keras")
    again = keras.saving.load_model(tmp_path / "any.keras")
    same(again, model)
    assert tuple(again.inputs[0].shape) == (None, None, None, 3)
    images = seeded_image(9, *FEW[1])
    np.testing.assert_array_equal(again(images, training=False), model(images, training=False))
    back = build(toy, weights=str(tmp_path / "any.keras"), input_shape=TOYS[toy][1], native_size=None)
    same(back, native)
    model.save_weights(tmp_path / "any.weights.h5")
    seed_otherwise = build(toy, input_shape=TOYS[toy][1], native_size=None, dynamic_img_pad=False)
    seed_otherwise.load_weights(tmp_path / "any.weights.h5")
    same(seed_otherwise, native)


def same(model, other):
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), err_msg=a.path)


@pytest.mark.slow
@EVERY
def test_an_image_of_the_native_size_gives_what_the_model_of_that_size_gives(toy, native_file):
    images = seeded_image(10, *TOYS[toy][1][:2], count=2)
    expected = keras.saving.load_model(native_file(toy))(images, training=False)
    model = build(toy, weights=native_file(toy), dynamic_img_pad=False)  # PVT v2's own size is no multiple
    assert difference(in_graph(model)(images), expected) <= TOLERANCE


# Images that no model can take ------------------------------------------------------------------------------------

MULTIPLES = {"vit": 8, "swin": 4, "coat_lite": 32, "t2t": 16, "tnt": 8, "dinov2": 8}


@pytest.mark.parametrize("toy", params(("vit",), MULTIPLES))
def test_sides_that_are_no_multiples_are_named_with_the_option_that_pads(toy):
    model, multiple = build(toy, dynamic_img_pad=False), MULTIPLES[toy]
    images = seeded_image(11, 6 * multiple, 6 * multiple + 1)
    with pytest.raises(ValueError, match=rf"multiples of {multiple}\b.*dynamic_img_pad=True"):
        model(images)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"multiples of {multiple}\b.*dynamic_img_pad=True"):
        in_graph(model)(images)


@pytest.mark.parametrize("toy", params(("convnext",), ("vit", "convnext", "pvt", "swin")))
@pytest.mark.parametrize("size", [(0, 64), *(pytest.param(size, marks=pytest.mark.slow) for size in ((64, 0), (0, 0)))])
def test_a_side_of_no_pixels_is_an_error_that_says_the_smallest(toy, size):
    for padding in (True, False):
        model = build(toy, dynamic_img_pad=padding)
        images = np.zeros((1, *size, 3), "float32")
        with pytest.raises(ValueError, match=r"(at least|smallest) \d+ x \d+.*Received"):
            model(images)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"(at least|smallest) \d+ x \d+"):
            in_graph(model)(images)


@pytest.mark.parametrize("toy", params(("convnext",), ("convnext", "pvt_v2")))
@pytest.mark.filterwarnings("ignore:.*softmax over axis -1:UserWarning")  # of one key, in Keras
def test_the_smallest_size_that_an_error_names_works_and_a_smaller_does_not(toy):
    model = build(toy, dynamic_img_pad=False)
    with pytest.raises(ValueError, match="at least") as error:
        model(np.zeros((1, 1, 1, 3), "float32"))
    least = int(str(error.value).split("at least ")[1].split(" x ")[0])
    assert np.isfinite(model(seeded_image(12, least, least))).all()
    with pytest.raises(ValueError, match=f"at least {least} x {least}"):
        model(np.zeros((1, least, least - 1, 3), "float32"))


def test_what_the_new_arguments_may_not_be_is_said():
    with pytest.raises(ValueError, match="input_shape"):
        build("vit", input_shape=(None, 64, 3))
    with pytest.raises(ValueError, match="native_size"):
        build("vit", native_size=(40, 0))
    with pytest.raises(ValueError, match="native_size: is for models of any size"):
        build("vit", input_shape=(40, 48, 3))
    with pytest.raises(ValueError, match="patch_size"):
        build("vit", patch_size=0)
    with pytest.raises(ValueError, match="channels|input_shape"):
        build("vit", input_shape=(None, None, None))


def test_patches_of_another_size_than_the_weights_have_give_the_same_of_a_larger_image(native_file):
    """Where patches grow, FlexiViT's resize loses nothing: an enlarged image gives what the image gave."""
    large = build("vit", weights=native_file("vit"), patch_size=16, native_size=None)
    assert tuple(large.get_layer("patch_embed").kernel.shape[:2]) == (16, 16)
    small, image = keras.saving.load_model(native_file("vit")), seeded_image(13, *TOYS["vit"][1][:2])
    patches = image.reshape(1, 5, 8, 6, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 8, 8, 3)
    enlarged = np.stack([resample_grid(patch, (16, 16)) for patch in patches])
    enlarged = enlarged.reshape(1, 5, 6, 16, 16, 3).transpose(0, 1, 3, 2, 4, 5).reshape(1, 80, 96, 3)
    made = large(enlarged.astype("float32"), training=False)
    assert difference(made, small(image, training=False)) <= 10 * TOLERANCE
