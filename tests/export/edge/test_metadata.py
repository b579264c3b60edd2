"""The metadata is read back by the numbers that metadata_schema.fbs gives its fields, not by the writer's table."""

import dataclasses
import io
import json
import types
import zipfile

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import number_types
from flatbuffers.table import Table

from keras_vit.export.edge import metadata
from keras_vit.export.tflite_graph import flatbuffer
from keras_vit.sources.answers import Answers


@pytest.fixture(scope="module")
def plain(converted):
    """Bytes of a .tflite file without metadata of ours, packed anew."""
    model = schema.ModelT.InitFromPackedBuf((converted[0] / "toys_16x24_fp32.tflite").read_bytes(), 0)
    model.metadata = [entry for entry in model.metadata if entry.name != metadata.NAME.encode()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="module")
def embedded(plain, toy_source):
    return metadata.embed(plain, toy_source, "Toys", "none")


class Reader:
    """A table, whose fields are read by number."""

    def __init__(self, table):
        self._table = table

    @classmethod
    def root(cls, data):
        return cls(Table(data, int.from_bytes(data[:4], "little")))

    def scalar(self, number, kind):
        return self._table.Get(kind, self._place(number))

    def string(self, number):
        place = self._place(number, None)
        return None if place is None else self._table.String(place).decode()

    def table(self, number):
        return Reader(Table(self._table.Bytes, self._table.Indirect(self._place(number))))

    def tables(self, number):
        start = self._table.Vector(self._place(number) - self._table.Pos)
        length = self._table.VectorLen(self._place(number) - self._table.Pos)
        return [Reader(Table(self._table.Bytes, self._table.Indirect(start + 4 * i))) for i in range(length)]

    def floats(self, number):
        return self._table.GetVectorAsNumpy(number_types.Float32Flags, self._place(number) - self._table.Pos).tolist()

    def _place(self, number, *default):
        offset = self._table.Offset(4 + 2 * number)
        if not offset and not default:
            raise KeyError(number)
        return self._table.Pos + offset if offset else default[0]


def model_metadata(content):
    """The ModelMetadata of a .tflite file, by its entry."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    [entry] = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    return Reader.root(data)


def test_the_model_is_described(embedded):
    root = model_metadata(embedded)
    assert (root.string(0), root.string(1)) == ("Toys", "Classifies images. Quantization: none.")
    assert root.string(7) == "1.0.0"
    assert root.string(4) is root.string(5) is None  # author and licence are unknown


def test_the_input_is_an_image_without_normalisation(embedded):
    [graph] = model_metadata(embedded).tables(3)
    [image] = graph.tables(2)
    content = image.table(3)
    assert content.scalar(0, number_types.Int8Flags) == 2  # ImageProperties
    properties = content.table(1)
    assert properties.scalar(0, number_types.Int8Flags) == 1  # RGB
    size = properties.table(1)
    width, height = (size.scalar(number, number_types.Uint32Flags) for number in (0, 1))
    assert (height, width) == (16, 24)
    [unit] = image.tables(4)
    assert unit.scalar(0, number_types.Int8Flags) == 1  # NormalizationOptions
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([0.0], [1.0])
    assert (image.table(5).floats(0), image.table(5).floats(1)) == ([255.0], [0.0])


def test_the_output_has_labels(embedded, toy_source):
    [graph] = model_metadata(embedded).tables(3)
    [probability] = graph.tables(3)
    assert probability.table(3).scalar(0, number_types.Int8Flags) == 1  # FeatureProperties
    assert (probability.table(5).floats(0), probability.table(5).floats(1)) == ([1.0], [0.0])
    [file] = probability.tables(6)
    assert (file.string(0), file.scalar(2, number_types.Int8Flags)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(io.BytesIO(embedded)) as archive:
        [entry] = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read(entry).decode().split("\n") == [*toy_source.labels, ""]


def test_a_published_model_has_author_and_licence(plain, toy_source):
    row = types.SimpleNamespace(hub_id="", url="https://example.org/weights.npz", licence="apache-2.0")
    root = model_metadata(metadata.embed(plain, dataclasses.replace(toy_source, published=row), "Toys", "none"))
    assert (root.string(4), root.string(5)) == (row.url, row.licence)


def test_the_same_model_gives_the_same_bytes(plain, toy_source, embedded):
    assert metadata.embed(plain, toy_source, "Toys", "none") == embedded


def test_the_graph_is_unchanged(plain, embedded, tmp_path):
    before, after = tmp_path / "before.tflite", tmp_path / "after.tflite"
    before.write_bytes(plain)
    after.write_bytes(embedded)
    assert flatbuffer.inspect_file(after) == flatbuffer.inspect_file(before)
    image = np.random.default_rng(0).uniform(0, 255, (1, 16, 24, 3)).astype("float32")
    outputs = []
    for content in (plain, embedded):
        run = Interpreter(model_content=content).get_signature_runner("serving_default")
        outputs.append(run(image=image)["probabilities"])
    np.testing.assert_array_equal(*outputs)


def test_thresholds_and_known_scores_are_inside(plain, toy_source):
    unknown = {"score": "energy", "threshold": 4.25, "kept": 0.95}
    source = dataclasses.replace(toy_source, answers=Answers(True, (0.5,) * 6, unknown))
    content = metadata.embed(plain, source, "Toys", "none")
    root = model_metadata(content)
    [graph], [file] = root.tables(3), root.tables(6)
    probability, known = graph.tables(3)
    assert probability.string(1) == "independent probabilities of the 6 classes"
    assert known.string(0) == "known_score" and "below 4.25" in known.string(1)
    assert (file.string(0), file.scalar(2, number_types.Int8Flags)) == ("answers.json", 1)  # DESCRIPTIONS
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["labels.txt", "answers.json"]
        assert json.loads(archive.read("answers.json")) == source.answers.entries()


def test_features_are_named_and_have_no_labels(plain, toy_source):
    source = dataclasses.replace(toy_source, labels=(), features=("probabilities",))
    content = metadata.embed(plain, source, "Toys", "none")
    root = model_metadata(content)
    assert root.string(1) == "Features of images. Quantization: none."
    [output] = root.tables(3)[0].tables(3)
    assert output.string(0) == "probabilities" and not zipfile.is_zipfile(io.BytesIO(content))
