"""The functions of a model's features that are exported: what its classifier reads, and the maps of its stages."""

import keras

from keras_vit.analysis.maps import stage_maps
from keras_vit.analysis.pyramid import feature_pyramid
from keras_vit.models.blocks import blocks
from keras_vit.prediction.features import without_head
from keras_vit.preprocessing import as_taken, find_input_values


def features(source):
    """The function to trace for penultimate-layer features, see `keras_vit.prediction.features`.

    Returns:
        images float32 (B, H, W, 3) in [0, 255], of a size that the model takes -> features (B, D). None for a model
        whose classifier is not a Dense layer on vectors.
    """
    model, spec = without_head(source.model), source.spec
    if model is None:
        return None
    values = find_input_values(source.model, spec.size, source.input_values)
    return lambda images: model(as_taken(images, spec, values), training=False)


def takes_any_size(source):
    """Whether the model takes images of any size."""
    return tuple(source.model.inputs[0].shape[1:3]) == (None, None)


def signatures_of_images(source):
    """The functions to trace for images of any size that the model takes.

    Returns:
        {name of the signature: function of images (B, H, W, 3) -> {name of the output: tensor}}.
    """
    embed, found = features(source), maps(source)
    functions = {"features_of_images": embed and (lambda images: {"embedding": embed(images)}), "maps_of_images": found}
    return {name: function for name, function in functions.items() if function}


def maps(source):
    """The function to trace for the maps of a model's stages.

    Returns:
        images float32 (B, H, W, 3) in [0, 255], of a size that the model takes -> {name: map (B, H', W', C)}: "P2" to
        "P5", of strides 4 to 32, as `keras_vit.feature_pyramid` calls the stages of hierarchical models; of models of
        one resolution "map", their last block's. None for a model that is not of this library.
    """
    found = named_maps(source.model)
    if not found:
        return None
    model = keras.Model(source.model.inputs[0], found)
    spec = source.spec
    values = find_input_values(source.model, spec.size, source.input_values)
    return lambda images: model(as_taken(images, spec, values), training=False)


def named_maps(model):
    """The maps of a model's stages, {name: symbolic (B, H, W, C)}, as `maps` names them; {} of another library's."""
    found = stage_maps(model) if blocks(model) else {}
    return dict(feature_pyramid(model).pyramid_outputs) if len(found) > 1 else {"map": one for one in found.values()}
