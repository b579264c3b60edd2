"""Batches of an engine: images in every form, answers as `keras-vit predict` gives them, bad rows with a reason."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from keras_vit.prediction import for_many
from keras_vit.prediction.embedding import Embedder
from keras_vit.prediction.engines import EmbedBatches, PredictBatches
from keras_vit.prediction.predictor import Predictor
from tests import toy_artifacts as toy
from tests.export import toys

IMAGES = toy.random_images()
BEST = ("red", "green", "deep blue")  # of the first three


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def objects(values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


ENCODED = [png(image) for image in IMAGES]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy.write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def answers(run):
    return PredictBatches(str(run), top=2, batch_size=3)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    folder = toys.write_several(tmp_path_factory.mktemp("several"))
    return PredictBatches(Predictor.open(folder)), sorted((folder / "held_out").iterdir())


def check(found, images=IMAGES):
    scores = np.sort(toy.expected(images), axis=1)[:, ::-1][:, :2]
    assert [row[0] for row in found["labels"]][:3] == list(BEST)
    np.testing.assert_allclose(np.array(list(found["scores"])), scores, atol=1e-5)
    assert list(found["reason"]) == len(images) * [None]


def test_images_come_in_every_form_and_are_not_returned(answers, tmp_path):
    (tmp_path / "0.png").write_bytes(ENCODED[0])
    column = [
        {"bytes": None, "path": str(tmp_path / "0.png")},
        bytearray(ENCODED[1]),
        memoryview(ENCODED[2]),
        IMAGES[3],
        ENCODED[0],
        {"bytes": ENCODED[1], "path": "elsewhere.png"},
    ]
    batch = {"image": objects(column), "number": np.arange(6)}
    found = answers(batch)
    check(found, [*IMAGES, *IMAGES[:2]])
    assert list(found) == ["number", "labels", "scores", "reason"] and list(batch) == ["image", "number"]
    np.testing.assert_array_equal(found["number"], np.arange(6))


def test_paths_stay(answers, tmp_path):
    (tmp_path / "a.png").write_bytes(ENCODED[0])
    found = answers({"image": np.array([str(tmp_path / "a.png"), str(tmp_path / "nowhere.png")])})
    assert list(found["image"]) == [str(tmp_path / "a.png"), str(tmp_path / "nowhere.png")]
    assert found["labels"][0][0] == "red" and found["labels"][1] is None and "nowhere.png" in found["reason"][1]


def test_a_table_gets_columns_with_the_types_of_a_parquet_file(answers):
    found = answers(pa.table({"image": ENCODED, "number": range(4)}))
    check(found.to_pydict())
    floats, strings = pa.list_(pa.float32()), pa.list_(pa.string())
    assert found.schema == pa.schema(
        [("number", pa.int64()), ("labels", strings), ("scores", floats), ("reason", pa.string())]
    )


def test_bad_images_have_nulls_and_a_reason_and_the_others_their_answers(answers):
    bad = [b"no image", None, ENCODED[0][:80]]
    column = [bad[0], *ENCODED[:3], bad[1], bad[2], ENCODED[3]]
    for found in (answers(pa.table({"image": column})).to_pydict(), answers({"image": objects(column)})):
        good = [number for number, reason in enumerate(found["reason"]) if reason is None]
        assert good == [1, 2, 3, 6]
        check({name: [values[number] for number in good] for name, values in found.items()})
        for number, words in ((0, "cannot identify"), (4, "null"), (5, "truncated")):
            assert found["labels"][number] is None and found["scores"][number] is None
            assert words in found["reason"][number]


def test_a_batch_of_bad_images_alone_has_the_same_types(answers):
    good = answers(pa.table({"image": ENCODED}))
    for column in ([b"", b"x"], [None, None]):
        bad = answers(pa.table({"image": pa.array(column, pa.binary())}))
        assert good.schema == bad.schema and bad["labels"].null_count == 2


def test_paths_of_a_table_stay(answers):
    found = answers(pa.table({"image": pa.array(["nowhere.png", None], pa.large_string())}))
    assert found["image"].to_pylist() == ["nowhere.png", None] and found["reason"].null_count == 0


def test_columns_that_are_missing_or_taken_are_named(answers):
    with pytest.raises(ValueError, match="no column 'image', but photo, n. Name the images' column"):
        answers({"photo": objects(ENCODED), "n": np.arange(4)})
    with pytest.raises(ValueError, match="has a column 'labels', as the answers do. Rename it"):
        answers(pa.table({"image": ENCODED, "labels": range(4)}))


def test_the_column_of_images_has_any_name(run):
    found = PredictBatches(str(run), column="photo")({"photo": objects(ENCODED), "image": np.arange(4)})
    assert list(found) == ["image", "labels", "scores", "reason"] and len(found["labels"][0]) == 3


@pytest.mark.parametrize("options, words", [({"top": 0}, "top must be"), ({"batch_size": 0}, "batch_size must be")])
def test_numbers_below_one_are_refused(options, words):
    with pytest.raises(ValueError, match=f"{words} at least 1. Received: 0"):
        PredictBatches("nowhere", **options)


def test_spark_gets_rows_of_any_length(answers):
    """As its checks look at them: a list column has two axes, a column of scalars one, and all have one row each."""
    predict = answers.make_predict_fn()
    found = predict(objects([*ENCODED, b"no image"]))
    assert answers.ddl == "labels array<string>, scores array<float>, reason string"
    assert [len(found[name].shape) for name in ("labels", "scores", "reason")] == [2, 2, 1]
    rows = {name: list(values) for name, values in found.items()}
    assert rows["labels"][4] is None and rows["scores"][4] is None and "cannot identify" in rows["reason"][4]
    check({name: values[:4] for name, values in rows.items()})
    (labels,) = predict(np.squeeze(objects(ENCODED[:1])))["labels"]  # as Spark gives a batch of one
    assert labels[0] == "red"


def test_several_labels_and_unknown_images(several):
    answers, paths = several
    predictor = answers._given
    found = answers({"image": objects([*map(str, paths), "nowhere"])})
    probabilities, known = predictor.predict_known([predictor.prepare(path) for path in paths])
    for number, row in enumerate(probabilities):
        best = [k for k in np.argsort(-row, kind="stable") if row[k] >= predictor.thresholds[k]]
        assert found["labels"][number] == [predictor.labels[k] for k in best]
        np.testing.assert_allclose(found["scores"][number], row[best], atol=1e-5)
    np.testing.assert_allclose(found["known_score"][:-1].astype(float), known, rtol=1e-5)
    assert list(found["unknown"][:-1]) == list(predictor.is_unknown(known)) and sum(found["unknown"][:-1]) == 2
    assert found["known_score"][-1] is None and found["unknown"][-1] is None
    for_spark = answers.make_predict_fn()(objects([str(paths[0]), "nowhere"]))["unknown"]
    assert [type(value) for value in for_spark] == [int, type(None)]
    expected = "labels array<string>, scores array<float>, known_score float, unknown tinyint, reason string"
    assert answers.ddl == expected


def test_vectors(run):
    embedder, bad = Embedder.open(run), b"no image"
    found = EmbedBatches(embedder, normalize=True)(pa.table({"image": [*ENCODED, bad]}))
    assert found.schema == pa.schema([("vector", pa.list_(pa.float32())), ("reason", pa.string())])
    vectors = found["vector"].to_pylist()
    np.testing.assert_allclose(vectors[:4], embedder.embed(IMAGES, normalize=True), atol=1e-6)
    assert vectors[4] is None and "cannot identify" in found["reason"][4].as_py()
    assert EmbedBatches(embedder).ddl == "vector array<float>, reason string"


def test_it_is_pickled_without_its_model_before_and_after_use(run):
    unused = PredictBatches(str(run), top=2)
    content = pickle.dumps(unused)
    check(unused({"image": objects(ENCODED)}))
    assert pickle.dumps(unused) == content and len(content) < 1000
    check(pickle.loads(content)({"image": objects(ENCODED)}))


def test_tasks_of_a_process_share_the_model(run):
    content = pickle.dumps(PredictBatches(str(run)))
    first, second = pickle.loads(content), pickle.loads(content)
    assert first._opened is second._opened and isinstance(first._opened, Predictor)


def test_nothing_is_opened_before_the_first_batch():
    answers = PredictBatches("nowhere/at_all")
    with pytest.raises(ValueError, match="nowhere/at_all"):
        answers({"image": objects(ENCODED)})


def test_many_are_predicted_as_many(run, monkeypatch):
    seen = []
    monkeypatch.setattr(for_many, "for_many", lambda predictor, number: seen.append(number) or predictor)
    PredictBatches(str(run))({"image": objects(ENCODED)})
    assert seen == [for_many.FROM]
