import keras
import pytest

from keras_vit.export.model.source import image_files, open_source
from keras_vit.preprocessing import Spec
from tests import wrapped_models
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


def test_what_lies_beside_a_keras_file_is_taken(keras_file, toy_run):
    for name in ("preprocessing.json", "labels.txt"):
        (keras_file.parent / name).write_bytes((toy_run / name).read_bytes())
    source = open_source(keras_file)
    assert source.labels == toys.LABELS and source.spec.crop_pct == 0.9


def test_which_values_the_model_takes_is_asked_for_or_recorded(keras_file, toy_run):
    spec = toy_run / "preprocessing.json"
    found = open_source(keras_file, spec), open_source(keras_file, spec, input_values="unit")
    assert [(source.input_values, source.asked) for source in found] == [(None, False), ("unit", True)]
    assert open_source(toy_run, input_values="pixels").input_values == "pixels"


def test_a_subclassed_model_and_one_output_of_two_classes(toy_run, tmp_path):
    image = keras.Input((*toys.SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    inner = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))
    spec = Spec.load(toy_run / "preprocessing.json")
    wrapped_models.WRAPPINGS["subclassed"][0](inner, spec).save(tmp_path / "m.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    source = open_source(tmp_path / "m.keras", spec)
    assert source.labels == ("cat", "dog") and source.model.output_shape == (None, 1)
    (tmp_path / "labels.txt").write_text("cat\ndog\nhen\n")
    with pytest.raises(ValueError, match="1 classes.* 3 labels"):
        open_source(tmp_path / "m.keras", spec)


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


def test_the_classes_of_images_in_class_folders_are_known(tmp_path):
    labels = ("ant", "wild bee")
    ants, bees = (toys.write_images(tmp_path / "data" / name, 2) for name in ("ant", "Wild_Bee"))
    known = (*((path, 0) for path in ants), *((path, 1) for path in bees))
    assert set(image_files([tmp_path / "data"], labels)) == set(known)
    assert {label for _, label in image_files([tmp_path / "data"])} == {None}
    (tmp_path / "data.csv").write_text(f"path,label\n{ants[0]},ant\n{bees[0]},wild bee\n")
    assert image_files([tmp_path / "data.csv"], labels) == ((ants[0], 0), (bees[0], 1))
    toys.write_images(tmp_path / "data", 1)  # one beside the class folders: of no class
    found = image_files([tmp_path / "data"], labels)
    assert len(found) == 5 and {label for _, label in found} == {None}


def test_several_labels_of_images_are_known(tmp_path):
    ants, bees = (toys.write_images(tmp_path / "data" / name, 1) for name in ("ant", "bee"))
    (tmp_path / "data.csv").write_text(f"path,label\n{ants[0]},ant|bee\n{bees[0]},\n")
    found = image_files([tmp_path / "data.csv", tmp_path / "data", ants[0]], ("ant", "bee"), multi_label=True)
    assert found == ((ants[0], (0, 1)), (bees[0], ()), (ants[0], (0,)), (bees[0], (1,)), (ants[0], None))


@pytest.mark.parametrize("folders", [("ant", "wasp"), ("0", "1"), ("train", "val")])
def test_folders_of_other_names_are_no_classes(tmp_path, folders):
    for name in folders:
        toys.write_images(tmp_path / name, 2)
    found = image_files([tmp_path], ("ant", "bee"))
    assert len(found) == 4 and {label for _, label in found} == {None}
