"""The configurations of transformers and timm: config.json to an `Architecture`, and back with what stands beside it.

`read` takes an opened folder of either library. `write` gives the JSON files that the library reads, but for weights.
"""

import math

from keras_vit.models import timm_config, transformers_config, transformers_writer
from keras_vit.models.config_fields import UnsupportedModelError
from keras_vit.sources.hub import CONFIG, PREPROCESSOR
from keras_vit.sources.library_folder import LIBRARIES

_READERS = {"transformers": transformers_config.read, "timm": timm_config.read}
_WRITERS = {"transformers": transformers_writer.write, "timm": timm_config.write}
RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers
FIRST_LAYERS = {  # by a family's name: what timm calls the first convolution and the classifier
    "Swin": ("patch_embed.proj", "head.fc"),
    "ConvNeXt": ("stem.0", "head.fc"),
    "PVT v2": ("patch_embed.proj", "head"),
}


def read(folder):
    """The `Architecture` of an opened `LibraryFolder`.

    Raises:
        UnsupportedModelError: for what is no model of this library, naming the field, its value and what is supported.
    """
    return _READERS[folder.library](folder)


def write(library, architecture, classes, labels=None, spec=None):
    """The files, but for the weights, that a library reads a model from.

    Args:
        library: "transformers" or "timm".
        architecture: an `Architecture`.
        classes: the classifier's number of classes K; None for a model without one.
        labels: K names.
        spec: the preprocessing, a `Spec`; None to leave it unsaid.

    Returns:
        {file name: entries of its JSON}.

    Raises:
        UnsupportedModelError: for a model that the library does not have, and for what it cannot say.
        ValueError: for another library, and for another number of labels.
    """
    if library not in LIBRARIES:
        raise ValueError(f"library: expected one of {', '.join(LIBRARIES)}. Received: {library!r}")
    if labels is not None and len(labels) != classes:
        raise ValueError(f"labels: expected {classes} names, one per class. Received: {len(labels)}")
    entries = _WRITERS[library](architecture, classes)
    if library == "timm":
        names = {"label_names": list(labels)} if labels else {}
        return {CONFIG: entries | names | {"pretrained_cfg": _pretrained_cfg(architecture, classes, spec)}}
    if classes is not None:
        names = labels or [f"LABEL_{k}" for k in range(classes)]
        entries |= {"id2label": {str(k): name for k, name in enumerate(names)}}
        entries |= {"label2id": {name: k for k, name in enumerate(names)}}
        entries |= {"num_labels": classes} if entries["model_type"] == "pvt" else {}  # which counts no names
    return {CONFIG: entries} | ({PREPROCESSOR: _preprocessor(spec)} if spec is not None else {})


def _pretrained_cfg(architecture, classes, spec):
    """timm's description of the weights' preprocessing."""
    first, head = FIRST_LAYERS.get(architecture.family.name, ("patch_embed.proj", "head"))
    height, width, channels = architecture.input_shape
    entries = {"num_classes": classes or 0, "first_conv": first, "classifier": head, "custom_load": False}
    entries |= {"input_size": [channels, height, width]}
    if spec is None:
        return entries
    return entries | {
        "input_size": [channels, *spec.size],
        "mean": list(spec.mean),
        "std": list(spec.std),
        "crop_pct": spec.crop_pct,
        "crop_mode": spec.crop_mode,
        "interpolation": spec.interpolation,
    }


def _preprocessor(spec):
    """preprocessor_config.json of a `Spec`: stretched by ViT's processor, with a crop by DeiT's, else by BiT's."""
    (height, width), resized = spec.size, [math.floor(side / spec.crop_pct) for side in spec.size]
    crop = {"height": height, "width": width}
    entries = {
        "do_resize": True,
        "resample": RESAMPLE[spec.interpolation],
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }
    if spec.crop_mode == "squash":
        kind = "ViTImageProcessor" if resized == [height, width] else "DeiTImageProcessor"
        size = {"height": resized[0], "width": resized[1]}
        entries |= {"do_center_crop": True, "crop_size": crop} if kind == "DeiTImageProcessor" else {}
    else:
        if height != width:
            raise UnsupportedModelError(
                f"transformers keeps the aspect ratio for square results only. Received: size={spec.size}"
            )
        kind, size = "BitImageProcessor", {"shortest_edge": resized[0]}
        entries |= {"do_center_crop": True, "crop_size": crop}
    return {"image_processor_type": kind, "size": size} | entries
