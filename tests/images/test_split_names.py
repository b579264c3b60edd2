import pytest

from keras_vit.images.split_names import looks_like, split_of

KNOWN = {
    "train": "train Train TRAIN training Training training_set TrainingSet train-set trainset train_data train.images",
    "val": "val valid validation Validation VAL dev Dev eval evaluation validation_set valset dev-set val_images",
    "test": "test Test TEST testing Testing test_set test-data testset holdout hold_out held-out test_images",
}
UNKNOWN_BUT_ALIKE = {
    ("train",): "seg_train my_train_v2 train2 train2017 trainA asl_alphabet_train CatsTrain 01_train",
    ("val",): "seg_val val2017 ILSVRC2012_img_val CatsValidation",
    ("test",): "seg_test Final_Test test1 testB cats-held-out",
    ("train", "test"): "train_test_split",
}
NEITHER = "cat strain contest latest oval carnival evaluated-not attest device devotion images data a b 1 _ train_ing"


@pytest.mark.parametrize("split, name", [(split, name) for split, names in KNOWN.items() for name in names.split()])
def test_known_names_are_known_whatever_their_case_and_punctuation(split, name):
    assert split_of(name) == split and looks_like(name) == (split,)


def test_names_of_two_words_may_have_a_space():
    assert split_of("Training Set") == "train" and split_of("Test images") == "test"


@pytest.mark.parametrize(
    "splits, name", [(splits, name) for splits, names in UNKNOWN_BUT_ALIKE.items() for name in names.split()]
)
def test_other_names_may_look_like_a_splits(splits, name):
    assert split_of(name) is None and looks_like(name) == splits


@pytest.mark.parametrize("name", NEITHER.split()[:-1])
def test_words_that_only_contain_such_a_name_do_not(name):
    assert split_of(name) is None and looks_like(name) == ()
