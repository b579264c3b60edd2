from keras_vit.training import model, recipe


def test_the_model_is_the_stated_size_and_stays_out_of_the_zoo():
    from keras_vit import zoo

    quick = recipe.load("quickstart")
    built = model.build_for_training(quick, 10, model.spec_of(quick))
    assert built.count_params() == quick.variant.parameters
    assert built.output_shape == (None, 10)
    assert quick.model not in zoo.list_models()


def test_digits_are_never_mirrored():
    assert recipe.load("quickstart").hflip == 0
