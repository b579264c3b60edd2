"""`keras-vit merge` writes one file of parts, and says what it could not read; test_images has it after both verbs."""

import pytest

from keras_vit.cli.main import main
from tests.prediction.of_numbers import numbers, predictions


def test_rows_are_counted_and_bad_images_listed(tmp_path, capsys):
    (tmp_path / "weights").write_bytes(b"")
    predictor, output = numbers(tmp_path / "weights"), tmp_path / "found.csv"
    for images, status in ((["1", "3", "2"], 1), (["1", "2"], 0)):
        for part in (1, 2):
            predictions(output, predictor, (part, 2), images=images)
        assert main(["merge", str(output)]) == status
        printed = capsys.readouterr()
        assert printed.out == f"2 of {len(images)} images: {output}\n"
        assert printed.err == ("keras-vit merge: skipped 3: 3 is bad\n" if status else "")
        output.unlink()


@pytest.mark.parametrize("output, message", [("found.txt", "are files that end in .csv"), ("found.csv", "no part of")])
def test_what_cannot_be_merged_is_a_sentence(tmp_path, output, message, capsys):
    assert main(["merge", str(tmp_path / output)]) == 1
    assert message in capsys.readouterr().err
