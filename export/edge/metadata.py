"""Metadata inside a .tflite file for apps: labels, normalisation of the input, shapes.

MediaPipe Tasks, ML Kit and Android Studio read it. It is a flatbuffer of its own (metadata_schema.fbs of TensorFlow
Lite Support, file identifier M001), stored in the .tflite file as metadata called TFLITE_METADATA; labels.txt follows
behind the .tflite flatbuffer as an uncompressed ZIP entry, and answers.json where there are several labels per image
or a score of known images. The same model gives the same bytes.
"""

import io
import json
import zipfile

from keras_vit.export.model.files import labels_text
from keras_vit.export.tflite_graph import flatbuffer
from keras_vit.sources.answers import ANSWERS
from keras_vit.sources.run_folder import LABELS

NAME, IDENTIFIER = "TFLITE_METADATA", b"M001"
PARSER = "1.0.0"  # lowest version of the schema that has all fields used here
TABLES = {  # of metadata_schema.fbs, fields in order: a field's number is its place; fields without a type are offsets
    "ModelMetadata": "name description version subgraph_metadata author license associated_files min_parser_version",
    "SubGraphMetadata": "name description input_tensor_metadata output_tensor_metadata",
    "TensorMetadata": "name description dimension_names content process_units stats associated_files",
    "Content": "content_properties_type:byte content_properties range",
    "FeatureProperties": "",
    "ImageProperties": "color_space:byte default_size",
    "ImageSize": "width:uint height:uint",
    "ProcessUnit": "options_type:byte options",
    "NormalizationOptions": "mean std",
    "Stats": "max min",
    "AssociatedFile": "name description type:byte",
}
FEATURE, IMAGE = 1, 2  # union ContentProperties
NORMALIZATION = 1  # union ProcessUnitOptions
RGB = 1  # enum ColorSpaceType
DESCRIPTIONS, TENSOR_AXIS_LABELS = 1, 2  # enum AssociatedFileType


def embed(content, source, name, quantization):
    """The .tflite file with its metadata and labels.

    Args:
        content: bytes of a .tflite file: one image in, probabilities or features out, normalisation in the graph.
        source: the `ExportedModel` it was converted from.
        name: the model's name, as tools show it.
        quantization: for the description.
    """
    names = flatbuffer.output_names(content)
    content = flatbuffer.add_metadata(content, NAME, _model_metadata(source, name, quantization, names))
    if source.features:
        return content
    file, answers = io.BytesIO(content), source.answers.entries()
    texts = {LABELS: labels_text(source.labels), **({ANSWERS: json.dumps(answers)} if answers else {})}
    with zipfile.ZipFile(file, "a") as archive:
        for entry_name, text in texts.items():
            entry = zipfile.ZipInfo(entry_name)  # stored, of the year 1980
            entry.create_system = 3  # as on Unix, wherever it is written
            archive.writestr(entry, text)
    return file.getvalue()


def _model_metadata(source, name, quantization, names):
    """The bytes of a ModelMetadata; `names` are those of the outputs, in the file's order."""
    import keras_vit

    write = _Writer()
    answers = source.answers
    image = _image(write, source.spec)
    if source.features:
        outputs = [_feature(write, name) for name in names]
    else:
        outputs = [_probability(write, len(source.labels), answers.multi_label)]
        outputs += [_known_score(write, answers.unknown)] if answers.unknown else []
    graph = write.table("SubGraphMetadata", input_tensor_metadata=[image], output_tensor_metadata=outputs)
    root = write.table(
        "ModelMetadata",
        name=name,
        description=f"{'Features of' if source.features else 'Classifies'} images. Quantization: {quantization}.",
        version=f"keras_vit {keras_vit.__version__}",
        subgraph_metadata=[graph],
        min_parser_version=PARSER,
        **({"associated_files": [_reading(write)]} if answers.entries() else {}),
        **_origin(source.published),
    )
    return write.finish(root)


def _reading(write):
    """The AssociatedFile of answers.json."""
    return write.table("AssociatedFile", name=ANSWERS, description="how the outputs are read", type=DESCRIPTIONS)


def _image(write, spec):
    """The TensorMetadata of the input."""
    height, width = spec.size
    return write.table(
        "TensorMetadata",
        name="image",
        description=f"RGB image, {height} x {width} pixels, values in [0, 255]",
        content=write.table(
            "Content",
            content_properties_type=IMAGE,
            content_properties=write.table(
                "ImageProperties", color_space=RGB, default_size=write.table("ImageSize", width=width, height=height)
            ),
        ),
        process_units=[
            write.table(  # none: the graph normalises
                "ProcessUnit",
                options_type=NORMALIZATION,
                options=write.table("NormalizationOptions", mean=[0.0], std=[1.0]),
            )
        ],
        stats=write.table("Stats", max=[255.0], min=[0.0]),
    )


def _feature(write, name):
    """The TensorMetadata of features."""
    content = write.table(
        "Content", content_properties_type=FEATURE, content_properties=write.table("FeatureProperties")
    )
    return write.table("TensorMetadata", name=name, description="features of the image", content=content)


def _known_score(write, unknown):
    """The TensorMetadata of the second output."""
    return write.table(
        "TensorMetadata",
        name="known_score",
        description=f"{unknown['score']} of the logits; below {unknown['threshold']:g} the image is unknown",
        content=write.table(
            "Content", content_properties_type=FEATURE, content_properties=write.table("FeatureProperties")
        ),
    )


def _probability(write, classes, several):
    """The TensorMetadata of the output."""
    kind = (
        f"independent probabilities of the {classes} classes" if several else f"probabilities of the {classes} classes"
    )
    return write.table(
        "TensorMetadata",
        name="probability",
        description=kind,
        content=write.table(
            "Content", content_properties_type=FEATURE, content_properties=write.table("FeatureProperties")
        ),
        stats=write.table("Stats", max=[1.0], min=[0.0]),
        associated_files=[
            write.table(
                "AssociatedFile", name=LABELS, description="names of the classes, in order", type=TENSOR_AXIS_LABELS
            )
        ],
    )


def _origin(row):
    """Author and licence of a published model, from the catalogue."""
    return {"author": row.hub_id or row.url, "license": row.licence} if row else {}


class _Writer:
    """Writes tables of TABLES; what a table points to is written before it."""

    def __init__(self):
        import flatbuffers

        self._builder = flatbuffers.Builder(1024)

    def table(self, kind, **values):
        """Write a table; values of fields are strings, lists of floats or of tables, tables, or numbers."""
        builder, fields = self._builder, TABLES[kind].split()
        slots = {"byte": builder.PrependByteSlot, "uint": builder.PrependUint32Slot}
        values = {field: self._placed(value) for field, value in values.items()}
        builder.StartObject(len(fields))
        for number, field in enumerate(fields):
            name, _, scalar = field.partition(":")
            if name in values:
                slots.get(scalar, builder.PrependUOffsetTRelativeSlot)(number, values[name], 0)
        return builder.EndObject()

    def finish(self, root):
        self._builder.Finish(root, IDENTIFIER)
        return bytes(self._builder.Output())

    def _placed(self, value):
        """Write what a field points to; numbers and tables stay as they are."""
        builder = self._builder
        if isinstance(value, str):
            return builder.CreateString(value)
        if not isinstance(value, list):
            return value
        if not isinstance(value[0], float):
            return flatbuffer.offset_vector(builder, value)
        builder.StartVector(4, len(value), 4)
        for number in reversed(value):
            builder.PrependFloat32(number)
        return builder.EndVector()
