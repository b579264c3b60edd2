"""example.py of an edge folder, run as users run it: without TensorFlow, Keras and this library."""

import ast
import io
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_vit.cli.main import main as command
from keras_vit.export.edge import bundle, example
from keras_vit.preprocessing import Spec, read_image, resize
from tests.export import toys
from tests.images_of_all_kinds import BEYOND_PILLOW, images, seen_by_pillow

REFUSING = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "keras_vit", "tensorflow"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SPECS = [
    Spec((32, 32), (0.5,) * 3, (0.5,) * 3, crop_pct=0.875),
    Spec((32, 48), (0.5,) * 3, (0.5,) * 3, crop_pct=0.9, interpolation="bilinear"),
    Spec((48, 32), (0.5,) * 3, (0.5,) * 3, crop_mode="squash"),
]


@pytest.fixture(scope="module")
def folder(converted, integer, tmp_path_factory):
    """A copy of the edge folder with files of all quantizations, elsewhere, and read-only."""
    folder = tmp_path_factory.mktemp("moved") / "edge"
    shutil.copytree(converted[0], folder)
    shutil.copytree(integer[0], folder, dirs_exist_ok=True)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def run(folder, *arguments):
    command = [sys.executable, "-P", "-c", REFUSING, str(folder / "example.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)


def scores(text):
    """[(label, percent), ...] of each image, in the order printed."""
    parts = re.split(r"^\S.*\n", text, flags=re.MULTILINE)[1:]
    rows = [re.findall(r"^  (\S+) +([\d.]+) %", part, re.MULTILINE) for part in parts]
    return [[(label, float(percent)) for label, percent in row] for row in rows]


def test_it_imports_only_what_it_documents():
    tree = ast.parse(bundle.EXAMPLE.read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    others = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert others == {"ai_edge_litert", "numpy", "PIL"}


@pytest.mark.parametrize("quantization", ["fp32", "dynamic_int8", "int8"])
def test_its_results_are_those_of_predict(folder, quantization, tmp_path, capsys):
    """For images that are only cropped: the two resizers differ by 1 in a few pixels, which int8 amplifies."""
    name, images = f"toys_16x24_{quantization}.tflite", []
    for number, pixels in enumerate(np.random.default_rng(5).integers(0, 256, (4, 17, 26, 3), np.uint8)):
        images.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels // 4 + pixels[:1, :1] // 4 * 3).save(images[-1])
    done = run(folder, "--model", folder / name, "--top", "6", *images)
    assert done.returncode == 0, done.stderr
    assert command(["predict", str(folder / name), "--top", "6", *map(str, images)]) == 0
    ours, theirs = scores(done.stdout), scores(capsys.readouterr().out)
    assert len(ours) == len(theirs) == 4 and all(len(one) == 6 for one in ours)
    for one, other in zip(ours, theirs):
        assert one[0][0] == other[0][0]
        one, other = dict(one), dict(other)
        np.testing.assert_allclose([one[k] for k in toys.LABELS], [other[k] for k in toys.LABELS], atol=0.011)


def test_a_file_that_is_not_an_image_does_not_stop_the_others(folder, tmp_path):
    [image] = toys.write_images(tmp_path / "pictures", 1)
    (tmp_path / "no.jpg").write_text("no image")
    done = run(folder, tmp_path / "no.jpg", image)
    assert done.returncode == 1
    assert re.search(r"^example.py: .*no.jpg cannot be read: ", done.stderr, re.MULTILINE)
    assert len(scores(done.stdout)) == 1


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [(90, 61), (61, 90), (40, 200)])
def test_images_are_prepared_as_in_training(spec, size, tmp_path):
    photograph = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(photograph).resize(size, Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    reference = resize(read_image(tmp_path / "a.png"), spec).numpy()
    made = example.prepare(tmp_path / "a.png", spec.to_json())
    assert made.dtype == np.uint8 and made.shape == (*spec.size, 3)
    assert np.abs(made - reference).mean() < 0.02


def test_an_image_is_turned_upright(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    spec = Spec((30, 20), (0.5,) * 3, (0.5,) * 3)
    made = example.prepare(tmp_path / "a.jpg", spec.to_json())
    assert made[:, 12:].mean() > 150 and made[:, :8].mean() < 50


@pytest.mark.filterwarnings("ignore:::PIL")  # of odd EXIF
@pytest.mark.parametrize("name", sorted(set(images()) - set(BEYOND_PILLOW)))
def test_an_image_is_read_as_by_the_library_or_refused(name):
    content = images()[name]
    expected = seen_by_pillow(content)
    if expected is None:
        with pytest.raises(ValueError, match="32-bit numbers"):
            example.read(io.BytesIO(content))
    else:
        np.testing.assert_array_equal(np.asarray(example.read(io.BytesIO(content))), expected)


def test_the_most_exact_file_is_the_default(tmp_path):
    for end in ("int8", "dynamic_int8", "fp16", "other"):
        (tmp_path / f"a_{end}.tflite").touch()
    assert example.most_exact(tmp_path).name == "a_fp16.tflite"
    (tmp_path / "a_fp16.tflite").unlink()
    assert example.most_exact(tmp_path).name == "a_dynamic_int8.tflite"


@pytest.mark.parametrize("stored, given", [(np.uint8, [3, 250, 2]), (np.float32, [0.0117, 0.9765, 0.0078])])
def test_integers_become_probabilities(monkeypatch, stored, given):
    class Interpreter:
        def __init__(self, path, num_threads):
            self.fed = None

        def allocate_tensors(self):
            pass

        def get_input_details(self):
            return [{"index": 0, "dtype": stored}]

        def get_output_details(self):
            return [{"index": 1, "quantization": (1 / 256, 0)}]

        def set_tensor(self, index, values):
            assert values.dtype == stored and values.shape == (1, 2, 2, 3) and values.max() == 255

        def invoke(self):
            pass

        def get_tensor(self, index):
            return np.array([given], stored)

    monkeypatch.setattr(example, "Interpreter", Interpreter)
    (output,) = example.open_model("a.tflite")(np.full((2, 2, 3), 255, np.uint8))
    np.testing.assert_allclose(output, [0.0117, 0.9765, 0.0078], atol=1e-3)


def test_features_without_stored_vectors_are_shown_by_shape_and_first_numbers(tmp_path, capsys):
    show = example.show_features(tmp_path)
    show([np.arange(12, dtype="float32").reshape(2, 2, 3), np.ones(3, "float32")], None)
    assert capsys.readouterr().out == (
        "  2 x 2 x 3: 0.0000 1.0000 2.0000 3.0000 4.0000 ...\n  3: 1.0000 1.0000 1.0000 ...\n"
    )


def test_the_nearest_of_stored_vectors_come_first(tmp_path, capsys):
    vectors = np.array([[1, 0], [0, 5], [-3, 3]], "float32")
    np.savez(tmp_path / "index.npz", names=np.array(["east", "north", "north-west"]), vectors=vectors)
    example.show_features(tmp_path)([np.array([0.0, 0.1], "float32")], 2)
    assert capsys.readouterr().out == "  1.0000  north\n  0.7071  north-west\n"


def test_of_several_labels_those_that_reach_their_thresholds_are_given():
    scores = np.float32([0.2, 0.9, 0.6, 0.5])
    assert example.given(scores, {}).tolist() == [1, 2, 3, 0] and example.given(scores, {}, 1).tolist() == [1]
    answers = {"multi_label": True, "thresholds": [0.1, 0.95, 0.6, 0.5]}
    assert example.given(scores, answers).tolist() == [2, 3, 0] and example.given(scores, answers, 2).tolist() == [2, 3]
    assert example.given(scores, {"multi_label": True}).tolist() == [1, 2, 3]
    assert not len(example.given(scores, {"multi_label": True, "thresholds": [1.0] * 4}))


@pytest.mark.parametrize("ending", ["fp32", "fp16", "int8"])
def test_compiled_models_give_the_scores_of_the_interpreter(folder, ending, tmp_path):
    paths = toys.write_images(tmp_path / "images", 3)
    options = ["--model", folder / f"toys_16x24_{ending}.tflite", *paths]
    interpreted, compiled = run(folder, *options), run(folder, "--accelerator", "cpu", *options)
    assert compiled.returncode == 0, compiled.stderr
    assert [label for row in scores(compiled.stdout) for label, _ in row]
    for one, other in zip(scores(interpreted.stdout), scores(compiled.stdout), strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=0.011)


def test_an_accelerator_that_is_not_there_is_said(folder, tmp_path):
    (path,) = toys.write_images(tmp_path / "images", 1)
    done = run(folder, "--accelerator", "npu", path)
    assert done.returncode == 1 and "cannot run toys_16x24_fp32.tflite on the NPU" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout.strip().startswith(str(path))
