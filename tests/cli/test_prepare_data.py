import pytest

from keras_vit.cli import main as command
from keras_vit.training.datasets.load import load_dataset
from tests.training.toy import recipe, write_folder


def test_a_folder_becomes_shards_that_training_reads(tmp_path, capsys):
    folder = write_folder(tmp_path / "d", per_class=10)
    arguments = ["prepare-data", str(folder), "--output", str(tmp_path / "s"), "--shards", "2", "--seed", "3"]
    assert command.main(arguments) == 0
    text = f"{tmp_path / 's'}: 24 train, 3 val, 3 test images of 3 classes in 4 shards, 0.0 MB\n"
    assert capsys.readouterr().out == text
    options = {"dataset": "records", "data_dir": str(tmp_path / "s")}
    source, copy = (load_dataset(recipe(seed=3, **o)) for o in ({"data_dir": str(folder)}, options))
    assert copy.train.names == source.train.relative_names(folder)
    assert command.main(arguments) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_manifest_and_the_digits(tmp_path, capsys):
    folder = write_folder(tmp_path / "d", per_class=10)
    rows = [f"d/{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows]))
    assert command.main(["prepare-data", str(tmp_path / "m.csv"), "--output", str(tmp_path / "s")]) == 0
    names = load_dataset(recipe(dataset="records", data_dir=str(tmp_path / "s"))).train.names
    assert {name.split("/")[0] for name in names} == {"d"}
    assert command.main(["prepare-data", "digits", "--output", str(tmp_path / "digits")]) == 0
    assert "1,257 train, 180 val, 360 test images of 10 classes in 23 shards" in capsys.readouterr().out


def test_what_became_which_split_is_said(tmp_path, capsys):
    write_folder(tmp_path / "d" / "train", 10), write_folder(tmp_path / "d" / "valid", 2)
    assert command.main(["prepare-data", str(tmp_path / "d"), "--output", str(tmp_path / "s"), "--shards", "1"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "splits: train/ is train, valid/ is validation, validation is test too"
    assert "30 train, 6 val images of 3 classes" in second


def test_parts_are_merged_by_one_command(tmp_path, capsys):
    folder = write_folder(tmp_path / "d", per_class=10)
    command.main(["prepare-data", str(folder), "--output", str(tmp_path / "one"), "--shards", "2"])
    many = ["prepare-data", str(folder), "--output", str(tmp_path / "many"), "--shards", "2", "--shard"]
    capsys.readouterr()
    assert [command.main([*many, part]) for part in ("1/3", "2/3", "3/3", "1/3")] == [0, 0, 0, 0]
    *_, last, again = capsys.readouterr().out.splitlines()
    assert last == f"{tmp_path / 'many-00003-of-00003'}: 3 images in 1 shards"
    assert again.endswith("many-00001-of-00003: 15 images in 2 shards, 2 of them from before")
    assert command.main(["merge", str(tmp_path / "many")]) == 0
    assert capsys.readouterr().out.endswith("many: 24 train, 3 val, 3 test images of 3 classes in 4 shards, 0.0 MB\n")
    one, merged = ({path.name: path.read_bytes() for path in (tmp_path / n).iterdir()} for n in ("one", "many"))
    assert one == merged
    with pytest.raises(SystemExit):
        command.main([*many, "4/3"])
    assert "I is 1 to N" in capsys.readouterr().err
    assert command.main(["merge", str(tmp_path / "nothing")]) == 1
    assert "There is no part of" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nothing"], "SOURCE is a folder, a CSV file, tfds/NAME or digits. There is no 'nothing'"),
        (["digits", "--shards", "0"], "shards must be 1 or more. Received: 0"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, capsys, arguments, message):
    assert command.main(["prepare-data", *arguments, "--output", str(tmp_path / "s")]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "s").exists()
