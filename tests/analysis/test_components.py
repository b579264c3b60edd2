"""Principal components of patches, by algebra on maps that are known."""

import keras
import numpy as np
import pytest

from keras_vit.analysis import patch_components, plot_patch_components
from tests.analysis.toys import model_and_images, noise
from tests.models.cases import one_per_family, params
from tests.models.toys import TOYS

GRIDS = {"hybrid": (5, 6), "dinov2_registers": (5, 6), "vit": (5, 6), "convnext": (4, 5), "swin": (6, 8)}


def known(vectors):
    """A model with one block whose last map is its input."""
    image = keras.Input(vectors.shape[1:])
    return keras.Model(image, keras.layers.Identity(name="block0")(image)), vectors


def test_components_come_by_variance_and_are_of_unit_variance():
    directions = np.linalg.qr(noise(0, 5, 5))[0]
    scores = np.linalg.qr(noise(1, 2 * 3 * 4, 5) - noise(1, 2 * 3 * 4, 5).mean(0))[0] * (9, 5, 3, 1, 0.5)
    model, images = known((scores @ directions + 7).reshape(2, 3, 4, 5).astype("float32"))
    found = patch_components(model, images).reshape(-1, 3)
    expected = scores[:, :3] / np.sqrt((scores[:, :3] ** 2).mean(0))
    expected *= np.sign(expected[np.abs(expected).argmax(0), range(3)])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found.std(0), 1, atol=1e-5)


def test_components_of_some_places_do_not_see_the_others():
    model, images = known(noise(2, 1, 4, 4, 3))
    some = np.zeros((1, 4, 4), bool)
    some[:, :3] = True
    changed = images.copy()
    changed[:, 3] *= 100
    np.testing.assert_allclose(
        patch_components(model, images, of=some)[some], patch_components(model, changed, of=some)[some], atol=1e-5
    )
    assert np.abs(patch_components(model, changed, of=some)[~some]).max() > 10


@pytest.mark.parametrize("name", params({"dinov2_registers", "convnext"}, one_per_family()))
def test_every_family_has_them_on_the_grid_of_its_last_map(name):
    model, images = model_and_images(name)
    found = patch_components(model, images)
    assert found.ndim == 4 and found.shape[0] == 2 and found.shape[-1] == 3 and found.dtype == "float32"
    assert found.shape[1:3] == GRIDS.get(name, found.shape[1:3])
    np.testing.assert_allclose(found.reshape(-1, 3).mean(0), 0, atol=1e-4)


def test_a_backbone_gives_those_of_its_own_output():
    variant, shape = TOYS["dinov2_registers"]
    model, images = variant(include_top=False, weights=None, input_shape=shape), noise(3, 2, *shape)
    itself = keras.ops.convert_to_numpy(model(images)).reshape(-1, 24).astype("float64")
    found = patch_components(model, images, components=24).reshape(-1, 24)
    rebuilt = np.linalg.lstsq(found, itself - itself.mean(0), rcond=None)[0]
    np.testing.assert_allclose(found @ rebuilt, itself - itself.mean(0), atol=1e-4)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"components": 0}, "components: expected 1 to 3"),
        ({"components": 4}, "components: expected 1 to 3"),
        ({"of": np.zeros((1, 4, 4), bool)}, "of: expected at least two of the places"),
        ({"of": np.ones((1, 3, 4), bool)}, "of: expected at least two of the places"),
    ],
)
def test_what_cannot_be_taken_is_an_error(wrong, message):
    model, images = known(noise(2, 1, 4, 4, 3))
    with pytest.raises(ValueError, match=message):
        patch_components(model, images, **wrong)


def test_they_are_drawn_as_colours_beside_the_images():
    components = noise(4, 2, 3, 4, 3)
    shown = np.ones((2, 3, 4), bool)
    shown[0, 0] = False
    figure = plot_patch_components(noise(5, 2, 6, 8, 3), components, shown)
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == 4
    colours = np.asarray(panels[1].images[0].get_array())
    assert colours.shape == (3, 4, 3) and (colours[0] == 1).all() and colours[1:].min() < 0.2 < 0.8 < colours[1:].max()
    with pytest.raises(ValueError, match="three components for each image"):
        plot_patch_components(noise(5, 2, 6, 8, 3), components[..., :2])
