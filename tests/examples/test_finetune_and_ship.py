import numpy as np
import pytest

from examples import finetune_and_ship as example
from keras_vit.images.folders import find_classes
from keras_vit.preprocessing import read_image


def test_digits_become_a_folder_of_class_folders(tmp_path):
    example.write_digits(tmp_path / "data", range(5, 10), per_class=3)
    found = find_classes(tmp_path / "data").splits["all"]
    assert list(found.classes) == [f"digit_{digit}" for digit in range(5, 10)]
    assert all(found.count(name) == 3 for name in found.classes)
    assert np.asarray(read_image(found.classes["digit_5"].images[0])).shape == (8, 8, 3)


@pytest.mark.slow
def test_from_images_to_files(tmp_path):
    run = example.finetune_digits(tmp_path, epochs=2)
    text = example.ship(run, tmp_path)
    assert [line.split()[0] for line in text.splitlines()][1:] and "serving" not in run.name
    assert (tmp_path / "serving" / "models").is_dir() and len(list((tmp_path / "edge").glob("*.tflite"))) == 2
    assert example.ship(run, tmp_path).count("100.00 %") >= 1
