"""A model without its classifier to export: which features it gives, under which names."""

from dataclasses import dataclass

import keras

from keras_vit.analysis.intermediate import intermediate_features
from keras_vit.export.model.features import named_maps
from keras_vit.export.model.float32 import in_float32
from keras_vit.export.model.source import ExportedModel, check_images, checked_name, test_images
from keras_vit.prediction.backbone import whole_model, without_classifier
from keras_vit.prediction.embedding import vectors_of
from keras_vit.prediction.image_size import KERAS, spec_at
from keras_vit.preprocessing import find_input_values
from keras_vit.sources.library_folder import open_folder
from keras_vit.sources.resolve import resolve, resolve_spec
from keras_vit.sources.run_folder import MODEL, Run

EMBEDDING, MAP = "embedding", "map"  # names of outputs


@dataclass(frozen=True)
class Features:
    """Which features of a model; by default what its classifier reads, or what a model without one gives.

    Attributes:
        pooling: "avg", "max" or "token", of the last map or sequence, as the constructors take it; None for the
            classifier's own.
        maps: the maps of all stages instead, "P2" to "P5", or of a model of one resolution "map".
        blocks: the maps of these blocks instead, as `keras_vit.intermediate_features` takes them; None for none.
    """

    pooling: str | None = None
    maps: bool = False
    blocks: tuple | None = None


def open_backbone(source, features=Features(), preprocessing=None, input_values=None, img_size=None, crop_pct=None):
    """Open a source for the export of its features.

    Args:
        source: as `open_source` takes it. A `.keras` file may hold any model whose outputs are vectors, sequences or
            maps.
        features: which.
        preprocessing, input_values, img_size, crop_pct: as `open_source` takes them.

    Returns:
        An `ExportedModel` without labels. Its model gives a dictionary, whose keys are its `features`.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if preprocessing is missing, and for features that the model does not have.
    """
    found = resolve(source, KERAS)
    own = found.spec() if preprocessing is None else resolve_spec(preprocessing)
    spec = spec_at(found, own, img_size, crop_pct)
    if spec is None:
        raise ValueError(
            f"{source} has no preprocessing. Add --preprocessing with a preprocessing.json or the name of a model "
            "with the same preprocessing."
        )
    if features.pooling:
        whole = without_classifier(found, spec, features.pooling)
    else:
        whole = whole_model(found, spec, img_size is not None)
    name = checked_name(Run.open(found.path).name if found.kind == "run" else found.name)
    check_images(ExportedModel(whole, spec, (), name))
    values = find_input_values(whole, spec.size, input_values or spec.input_values or found.input_values())
    labels = found.labels()
    loaded, copy = named(whole, features, labels), in_float32(whole)
    model = loaded if copy is whole else named(copy, features, labels)
    return ExportedModel(
        model,
        spec,
        (),
        name,
        test_images(found),
        found.row,
        _weights(found),
        values,
        loaded=loaded,
        features=tuple(sorted(model.output)),
    )


def _weights(found):
    """The file of a source's weights; None of a published model."""
    if found.kind == "library":
        return open_folder(found.path).weights
    return found.path / MODEL if found.kind == "run" else found.path


def named(whole, features, labels=None):
    """The Keras model of the features: images -> {name: tensor}.

    Args:
        whole: the model with its classifier, or a backbone.
        features: `Features`; its pooling is that of `whole` already.
        labels: names of the classes, where they are known.

    Raises:
        ValueError: for features that the model does not have.
    """
    if features.blocks is not None:
        found = intermediate_features(whole, list(features.blocks))
        outputs = dict(zip(found.output_names, keras.tree.flatten(found.outputs)))
    elif features.maps:
        outputs = _maps(whole)
    elif features.pooling:
        outputs = {EMBEDDING: whole.outputs[0]}
    else:
        outputs = _own(whole, labels)
    return keras.Model(whole.inputs[0], {name: outputs[name] for name in sorted(outputs)}, name=whole.name)


def _maps(whole):
    """The maps of the stages by name; ValueError for a model without blocks."""
    found = named_maps(whole)
    if not found:
        raise ValueError(
            f"{whole.name} has no maps of stages: it is not a model of this library, or was built without its blocks. "
            "Expected one as the constructors build it, or a .keras file whose outputs are the maps."
        )
    return found


def _own(whole, labels):
    """What a classifier reads; of a model without one its outputs, by the names that it has for them."""
    outputs = whole.outputs
    if len(outputs) > 1:
        return dict(whole.output) if isinstance(whole.output, dict) else dict(zip(whole.output_names, outputs))
    if len(outputs[0].shape) == 2:
        return {EMBEDDING: vectors_of(whole, labels).outputs[0]}
    return {MAP: outputs[0]} if len(outputs[0].shape) == 4 else {"tokens": outputs[0]}
