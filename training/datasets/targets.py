"""The feature of a tensorflow-datasets builder that holds the classes of an image, in any of its usual forms.

ClassLabel              one class per image (MNIST, ImageNet)
Sequence of ClassLabel  the numbers of the classes that an image has, maybe none (Pascal VOC)
Tensor of K integers    0 or 1 for each of K classes, which have no names: they are called "0", "1", ... (multi-hot)
FeaturesDict of bool    a flag per class (CelebA's attributes)
"""

from dataclasses import dataclass

import numpy as np

FORMS = ("ClassLabel", "Sequence of ClassLabel", "Tensor of K integers or bool", "FeaturesDict of bool")
NO_CLASSES = "none"  # the form of what is read for its images alone
INVALID = 255  # in labels of several classes: all of an image for which the record has a class that there is not


@dataclass(frozen=True)
class Target:
    """A feature that holds classes."""

    name: str
    form: str  # one of FORMS, or NO_CLASSES
    classes: tuple[str, ...]

    @property
    def several(self):
        """Whether an image may have several classes, or none."""
        return self.form not in (FORMS[0], NO_CLASSES)

    @property
    def dtype(self):
        """The type of a `Split`'s labels."""
        return "uint8" if self.several else "int32"

    def are_invalid(self, labels):
        """Which images have a class that there is not, bool (N,)."""
        if self.form == NO_CLASSES:
            return np.zeros(len(labels), bool)
        return (labels > 1).any(1) if self.several else (labels < 0) | (labels >= len(self.classes))

    def parse(self, content):
        """The classes in a record, in TensorFlow: an int64 scalar, or uint8 (K,), 1 for each class."""
        import tensorflow as tf

        if self.form == NO_CLASSES:
            return tf.constant(0, tf.int64)
        one, k = tf.io.FixedLenFeature((), tf.int64), len(self.classes)
        if self.form == FORMS[0]:
            return tf.io.parse_single_example(content, {self.name: one})[self.name]
        if self.form == FORMS[1]:
            sparse = tf.io.parse_single_example(content, {self.name: tf.io.VarLenFeature(tf.int64)})[self.name]
            hot = tf.reduce_any(tf.one_hot(sparse.values, k, True, False, dtype=tf.bool), axis=0)
            exist = tf.reduce_all((sparse.values >= 0) & (sparse.values < k))
            return tf.where(exist, tf.cast(hot, tf.uint8), tf.constant(INVALID, tf.uint8))
        if self.form == FORMS[2]:
            values = tf.io.parse_single_example(content, {self.name: tf.io.FixedLenFeature((k,), tf.int64)})[self.name]
        else:
            keys = [f"{self.name}/{name}" for name in self.classes]
            flags = tf.io.parse_single_example(content, dict.fromkeys(keys, one))
            values = tf.stack([flags[key] for key in keys])
        exist = tf.reduce_all((values == 0) | (values == 1))
        return tf.where(exist, tf.cast(values, tf.uint8), tf.constant(INVALID, tf.uint8))


def image_feature(info):
    """The name of the feature that holds the image.

    Raises:
        ValueError: listing the features, if there is none or more than one.
    """
    from tensorflow_datasets.core.features import Image

    images = [name for name, feature in info.features.items() if isinstance(feature, Image)]
    if len(images) != 1:
        raise ValueError(
            f"{info.full_name} needs one feature that is an image (Image). Its features: "
            f"{', '.join(f'{key}: {_form(feature)}' for key, feature in info.features.items())}."
        )
    return images[0]


def features(info, target_key=None):
    """The features of a data set that hold the image and its classes.

    Args:
        info: of the builder.
        target_key: name of the feature that holds the classes; None for the supervised one, or else the only one that
            can: of one class per image, or, without such a feature, of several.

    Returns:
        (name of the feature with the image, `Target`).
    Raises:
        ValueError: listing the features, if it is not one image, or not clear which feature holds the classes.
    """
    from tensorflow_datasets.core.features import Image

    found = dict(info.features.items())
    images = [name for name, feature in found.items() if isinstance(feature, Image)]
    possible = {name: target for name, feature in found.items() if (target := _target(name, feature))}
    image, label = info.supervised_keys or (images[0] if len(images) == 1 else None, None)
    if target_key is None and label is None:
        single = [name for name, target in possible.items() if not target.several]
        label = next(iter(single or possible), None) if len(single or possible) == 1 else None
    label = target_key or label
    if image not in images or label not in possible:
        raise ValueError(
            f"{info.full_name} is not for classification: expected examples of one image (Image) and one feature with "
            f"classes ({', '.join(FORMS)}). Its features: {', '.join(f'{k}: {_form(f)}' for k, f in found.items())}."
            + _remedy(target_key, possible)
        )
    return image, possible[label]


def _remedy(target_key, possible):
    if target_key is not None:
        return f" Received: target_key={target_key!r}; possible: {', '.join(possible) or 'none'}."
    return f" Choose by target_key: {', '.join(possible)}." if len(possible) > 1 else ""


def _target(name, feature):
    """The `Target` of a feature; None if it cannot hold classes."""
    form = _form(feature)
    if form not in FORMS:
        return None
    if form == FORMS[3]:
        return Target(name, form, tuple(key for key, _ in feature.items()))
    if form == FORMS[2]:
        return Target(name, form, tuple(map(str, range(feature.shape[0]))))
    return Target(name, form, tuple((feature if form == FORMS[0] else feature.feature).names))


def _form(feature):
    """Which of FORMS a feature has; else the name of its type."""
    from tensorflow_datasets.core.features import ClassLabel, FeaturesDict, Sequence, Tensor

    if isinstance(feature, ClassLabel):
        return FORMS[0]
    if isinstance(feature, Sequence) and isinstance(feature.feature, ClassLabel):
        return FORMS[1]
    if type(feature) is Tensor and len(feature.shape) == 1 and (feature.shape[0] or 0) > 1:
        return FORMS[2] if np.issubdtype(feature.np_dtype, np.integer) or feature.np_dtype is np.bool_ else "Tensor"
    if isinstance(feature, FeaturesDict):
        flags = [type(f) is Tensor and f.shape == () and f.np_dtype is np.bool_ for _, f in feature.items()]
        return FORMS[3] if len(flags) > 1 and all(flags) else "FeaturesDict"
    return type(feature).__name__
