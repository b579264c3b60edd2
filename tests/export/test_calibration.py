import numpy as np
import pytest

from keras_vit.export import calibration, parity
from keras_vit.preprocessing import Spec
from tests.export.toys import SIZE, write_pictures

SPEC = Spec(SIZE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), crop_pct=0.9)


def test_pictures_are_prepared_as_for_the_model(tmp_path):
    paths = write_pictures(tmp_path, 5)
    calibrated = calibration.from_files(paths, SPEC)
    assert calibrated.images.shape == (5, *SIZE, 3) and calibrated.images.dtype == np.uint8
    wanted = {parity.read_picture(path, path.read_bytes(), SPEC).tobytes() for path in paths}
    assert {image.tobytes() for image in calibrated.images} == wanted
    assert calibrated.report() == {"n_images": 5, "pictures": "given", "skipped": 0}


def test_the_sample_is_seeded_and_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MOST", 3)
    paths = write_pictures(tmp_path, 8)
    one, other = (calibration.from_files(paths, SPEC).images for _ in range(2))
    assert len(one) == 3
    np.testing.assert_array_equal(one, other)


def test_what_cannot_be_read_is_skipped_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MOST", 4)
    paths = write_pictures(tmp_path, 6)
    for path in paths[:2]:
        path.write_bytes(b"no picture")
    calibrated = calibration.from_files(paths, SPEC)
    assert len(calibrated.images) == 4 and 0 < calibrated.skipped <= 2
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="None of the 6 given pictures can be read; name others with --calibration"):
        calibration.from_files(paths, SPEC)


def test_noise_is_other_noise_than_files_are_judged_on_and_advises_pictures(tmp_path):
    calibrated = calibration.from_noise(SPEC)
    judged = [parity.read_picture(path, path.read_bytes(), SPEC) for path, _ in parity.noise_pictures(tmp_path)]
    assert len(calibrated.images) == calibration.NOISE
    assert not {image.tobytes() for image in judged} & {image.tobytes() for image in calibrated.images}
    assert "--calibration" in calibrated.report()["note"]
