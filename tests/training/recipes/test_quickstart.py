from keras_vit.training import recipe
from keras_vit.training.step import model


def test_the_model_has_the_stated_size_and_is_not_in_the_registry():
    from keras_vit.sources import registry

    quick = recipe.load("quickstart")
    built = model.build_for_training(quick, 10, model.spec_of(quick))
    assert built.count_params() == quick.variant.parameters
    assert built.output_shape == (None, 10)
    assert quick.model not in registry.list_models()


def test_digits_are_never_mirrored():
    assert recipe.load("quickstart").hflip == 0
