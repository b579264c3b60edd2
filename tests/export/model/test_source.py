import keras
import pytest

from keras_vit.export.model.source import image_files, open_source
from keras_vit.preprocessing import Spec
from tests.export import toys


@pytest.fixture
def keras_file(toy_run, tmp_path):
    path = tmp_path / "my toy.keras"
    path.write_bytes((toy_run / "model.keras").read_bytes())
    return path


def test_a_run_has_everything(toy_source, toy_run):
    assert toy_source.name == "toys"
    assert toy_source.labels[5] == "fünf"
    assert toy_source.spec.crop_pct == 0.9
    assert len(toy_source.images) == 12
    assert toy_source.images[0][0] == toy_run / "held_out" / "00.png"


def test_a_keras_file_needs_preprocessing(keras_file, toy_run):
    with pytest.raises(ValueError, match="--preprocessing"):
        open_source(keras_file)
    source = open_source(keras_file, toy_run / "preprocessing.json")
    assert (source.name, source.labels, source.images) == ("my_toy", tuple("012345"), ())
    source = open_source(keras_file, toy_run / "preprocessing.json", toy_run / "labels.txt")
    assert source.labels == toys.LABELS


def test_what_does_not_fit_is_rejected(keras_file, toy_run, tmp_path):
    labels, spec = tmp_path / "labels.txt", tmp_path / "spec.json"
    labels.write_text("a\nb\n")
    Spec((24, 16), (0, 0, 0), (1, 1, 1)).save(spec)
    with pytest.raises(ValueError, match="6 classes.* 2 labels"):
        open_source(keras_file, toy_run / "preprocessing.json", labels)
    with pytest.raises(ValueError, match=r"\(24, 16\).*\(16, 24\)"):
        open_source(keras_file, spec)
    with pytest.raises(ValueError, match="have their own"):
        open_source(toy_run, preprocessing=spec)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_source(tmp_path / "absent.keras", spec)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_source(tmp_path / "absent")


def test_only_classifiers_of_images(tmp_path, toy_run):
    image = keras.Input((16, 24, 3))
    keras.Model(image, keras.layers.Conv2D(2, 1)(image)).save(tmp_path / "features.keras")
    with pytest.raises(ValueError, match="include_top=True"):
        open_source(tmp_path / "features.keras", toy_run / "preprocessing.json")
    vector = keras.Input((7,))
    keras.Model(vector, keras.layers.Dense(2)(vector)).save(tmp_path / "vector.keras")
    with pytest.raises(ValueError, match=r"\(B, H, W, 3\)"):
        open_source(tmp_path / "vector.keras", toy_run / "preprocessing.json")


def test_a_published_name_has_the_catalogues_preprocessing_and_labels(monkeypatch):
    created = []

    def create_published(row):
        created.append(row)
        image = keras.Input((*row.size, 3))
        return keras.Model(image, keras.layers.Dense(row.classes)(keras.layers.GlobalAveragePooling2D()(image)))

    monkeypatch.setattr("keras_vit.models.create.create_published", create_published)
    source = open_source("SwinT.ms_in1k")
    [row] = created
    assert (row.constructor, row.tag) == ("SwinT", "ms_in1k")
    assert source.published is row and source.spec == row.spec and source.images == ()
    assert (source.name, len(source.labels), source.labels[0]) == ("SwinT.ms_in1k", 1000, "tench")


def test_image_files_searches_folders(tmp_path):
    paths = toys.write_images(tmp_path / "deep" / "er", 3)
    (tmp_path / "deep" / "notes.txt").write_text("no image")
    assert image_files([tmp_path, paths[1]]) == tuple((p, None) for p in [*paths, paths[1]])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no images"):
        image_files([tmp_path / "empty"])
    with pytest.raises(ValueError, match="does not exist"):
        image_files([tmp_path / "absent"])
