"""What folders and CSV files call the train, validation and test splits.

Known are the names that Keras' and torchvision's guides, Kaggle, Roboflow and Hugging Face use: train/ and val/,
training_set/ and test_set/, Training/ and Testing/, train/ and valid/, train/ and dev/.
"""

import re

SPLITS = ("train", "val", "test")
WORDS = {  # split -> its names, which may be followed by one of ENDINGS
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development", "eval", "evaluation"),
    "test": ("test", "testing", "holdout", "heldout"),
}
ENDINGS = ("", "set", "sets", "data", "dataset", "split", "images", "imgs", "img", "pictures", "photos", "samples")
NAMES = {f"{word}{ending}": split for split, words in WORDS.items() for word in words for ending in ENDINGS}
IN_WORDS = {"train": "train", "val": "validation", "test": "test"}


def split_of(name):
    """The split of a name: "train", "val" or "test", whatever its case, with or without - _ . and spaces; or None."""
    return NAMES.get(re.sub(r"[-_.\s]", "", name).lower())


def looks_like(name):
    """The splits that a name speaks of, whether it is known or not: ("train",) for seg_train, train2 and CatsTrain.

    A name is cut into words at punctuation, digits and capitals, so that strain and contest speak of none.
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    pairs = [first + second for first, second in zip(words, words[1:])]  # "held_out", "hold-out"
    found = {NAMES.get(word.lower()) for word in (*words, *pairs)} | {split_of(name)}
    return tuple(split for split in SPLITS if split in found)
