import pytest

from examples.studies.study import family
from keras_vit.models import swin
from keras_vit.models.family import Variant


def test_a_studys_family_has_no_weights():
    variant = Variant("Own", family("Swin", "2103.14030", swin.build, swin.sides), swin.Config(12, (1,), (2,), 2, 4))
    assert variant.tags == ()
    assert variant(weights=None, input_shape=(16, 16, 3), classes=3).output_shape == (None, 3)
    with pytest.raises(ValueError):
        variant(weights="imagenet", input_shape=(16, 16, 3))
