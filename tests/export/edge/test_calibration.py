import numpy as np
import pytest

from keras_vit.export.edge import calibration
from keras_vit.export.parity.images import noise_images, read_image
from keras_vit.preprocessing import Spec
from tests.export.toys import SIZE, write_images

SPEC = Spec(SIZE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), crop_pct=0.9)


def test_images_are_prepared_as_for_the_model(tmp_path):
    paths = write_images(tmp_path, 5)
    calibrated = calibration.from_files(paths, SPEC)
    assert calibrated.images.shape == (5, *SIZE, 3) and calibrated.images.dtype == np.uint8
    reference = {read_image(path, path.read_bytes(), SPEC).tobytes() for path in paths}
    assert {image.tobytes() for image in calibrated.images} == reference
    told = calibrated.report()
    assert "only 5 images" in told.pop("note") and told == {"n_images": 5, "pictures": "given", "skipped": 0}


def test_the_sample_is_seeded_and_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MOST", 3)
    paths = write_images(tmp_path, 8)
    one, other = (calibration.from_files(paths, SPEC).images for _ in range(2))
    assert len(one) == 3
    np.testing.assert_array_equal(one, other)


def test_unreadable_images_are_skipped_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MOST", 4)
    paths = write_images(tmp_path, 6)
    for path in paths[:2]:
        path.write_bytes(b"no image")
    calibrated = calibration.from_files(paths, SPEC)
    assert len(calibrated.images) == 4 and 0 < calibrated.skipped <= 2
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="None of the 6 given images can be read; name others with --calibration"):
        calibration.from_files(paths, SPEC)


def test_noise_differs_from_that_of_the_check_and_advises_images(tmp_path):
    calibrated = calibration.from_noise(SPEC)
    checked = [read_image(path, path.read_bytes(), SPEC) for path, _ in noise_images(tmp_path)]
    assert len(calibrated.images) == calibration.NOISE
    assert not {image.tobytes() for image in checked} & {image.tobytes() for image in calibrated.images}
    assert "--calibration" in calibrated.report()["note"]


def test_images_that_tell_little_are_named():
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, *SIZE, 3)).astype("uint8")
    assert "note" not in calibration.Calibration(images, "given").report([0, 1, 0])
    assert "same class in all" in calibration.Calibration(images, "given").report([2, 2, 2])["note"]
    images[:20] = 0
    assert "20 of the 40 images" in calibration.Calibration(images, "training").report([0, 1])["note"]
    assert "of one colour" in calibration.Calibration(np.zeros_like(images), "given").report([0, 0])["note"]
