import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from keras_vit.export.servers import images
from keras_vit.preprocessing import Spec, read_image
from keras_vit.preprocessing.resizing import resize_array
from tests.export.toys import write_images


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, the module images.py)"""
    folder = tmp_path_factory.mktemp("images")
    (folder / images.FILE).write_text(images.text(), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("images", folder / images.FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return folder, module


@pytest.mark.parametrize("mode, crop", [("center", 0.9), ("squash", 1.0)])
def test_images_are_prepared_as_by_this_library(written, tmp_path, mode, crop):
    spec = Spec((16, 24), (0.5,) * 3, (0.25,) * 3, crop_pct=crop, crop_mode=mode)
    for path in write_images(tmp_path, 4):
        ours = resize_array(read_image(path), spec)
        theirs = written[1].prepare(path, json.loads(json.dumps(spec.to_json())))
        assert theirs.dtype == np.uint8 and np.abs(theirs - ours).max() <= 1


def test_it_needs_numpy_and_pillow_only(written):
    code = "import sys, images; print({'tensorflow', 'keras', 'keras_vit', 'ai_edge_litert'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=written[0], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_answers_are_printed(written, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    written[1].show_classes(tmp_path)([np.array([0.25, 0.75], "float32")], 1)
    written[1].show_features(tmp_path)([np.zeros(3, "float32")], None)
    assert capsys.readouterr().out == "  dog   75.00 %\n  3: 0.0000 0.0000 0.0000 ...\n"
