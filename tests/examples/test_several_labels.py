from examples import fashion_mnist, several_labels


def test_pairs_are_trained_as_single_images_are_but_for_their_labels():
    pairs, single = several_labels.SEVERAL.settings(), fashion_mnist.RECIPE.settings()
    differing = {name for name in pairs if pairs[name] != single[name]}
    assert differing == {"dataset", "img_size", "eval_metric", "smoothing"}


def test_a_row_has_the_map_of_its_run(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(several_labels, "train", lambda *args: trained.append(args) or {"map": 91.234})
    row = several_labels.train_on_pairs("focal", 2, tmp_path, tmp_path)
    ((recipe, folder),) = trained
    assert (recipe.loss, recipe.seed, folder.name) == ("focal", 2, "focal-2")
    assert row == {"images": "pairs", "loss": "focal", "seed": 2, "map": 91.23}
