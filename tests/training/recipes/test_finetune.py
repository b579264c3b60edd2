from keras_vit.training import model, recipe


def test_it_starts_from_published_weights_on_a_folder():
    tuned = recipe.load("finetune")
    assert tuned.dataset == "folder" and tuned.weights == "imagenet" and tuned.variant is None
    assert model.find(tuned)[0].name == "SwinT"
