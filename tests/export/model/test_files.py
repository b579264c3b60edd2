import pytest

from keras_vit.export.model.files import labels_text, publish, size_in_name, write_labels_and_spec
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import read_labels


def test_labels_and_spec_are_read_back(toy_source, tmp_path):
    labels, spec = write_labels_and_spec(tmp_path, toy_source)
    assert (labels.name, spec.name) == ("labels.txt", "preprocessing.json")
    assert read_labels(labels) == toy_source.labels and Spec.load(spec) == toy_source.spec
    assert labels_text(("a", "b")) == "a\nb\n"


@pytest.mark.parametrize("size, name", [((224, 224), "224"), ((16, 24), "16x24")])
def test_the_size_in_a_name_is_short_for_squares(size, name):
    assert size_in_name(Spec(size, (0.5,) * 3, (0.5,) * 3)) == name


def test_nothing_is_published_if_a_file_is_missing(tmp_path):
    first, missing, output = tmp_path / "first", tmp_path / "missing", tmp_path / "output"
    first.write_text("new")
    with pytest.raises(FileNotFoundError):
        publish([first, missing], output)
    assert not output.exists()
    missing.write_text("now it is there")
    publish([first, missing], output)
    assert sorted(path.name for path in output.iterdir()) == ["first", "missing"]


def test_files_in_folders_of_their_own_keep_them(tmp_path):
    made = tmp_path / "made"
    (made / "inner").mkdir(parents=True)
    for name in ("outer.js", "inner/a.js"):
        (made / name).write_text(name)
    publish([made / "outer.js", made / "inner/a.js"], tmp_path / "output", made)
    assert (tmp_path / "output/inner/a.js").read_text() == "inner/a.js"
    publish([made / "inner/a.js"], tmp_path / "flat")
    assert [path.name for path in (tmp_path / "flat").iterdir()] == ["a.js"]
