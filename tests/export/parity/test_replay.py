import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_vit.export.parity import replay
from keras_vit.export.parity.parity import replay_all
from tests.export import toys


def test_only_the_listed_packages_are_refused():
    refuse = replay.Refuse()
    assert refuse.find_spec("numpy") is None and refuse.find_spec("kerasino") is None
    for name in ("keras", "keras.src.layers", "keras_vit.models"):
        with pytest.raises(ImportError, match="refused"):
            refuse.create_module(refuse.find_spec(name))


def test_the_process_cannot_import_this_library():
    code = "import sys, replay; sys.meta_path.insert(0, replay.Refuse()); import keras_vit"
    command, folder = [sys.executable, "-c", code], Path(replay.__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert "keras_vit is refused here" in done.stderr


def test_outputs_and_times(replayed, expected):
    served, *files = replayed
    for outputs in (served, files[0]):
        np.testing.assert_allclose(outputs["probabilities"], expected.probabilities, atol=1e-5)
    for outputs in replayed:
        assert outputs["milliseconds"].shape == (3,) and (outputs["milliseconds"] > 0).all()
    best = np.take_along_axis(expected.probabilities, served["class_ids"], 1)
    np.testing.assert_allclose(served["scores"], best, atol=1e-5)
    assert (served["classes"] == np.array(toys.LABELS)[served["class_ids"]]).all()


def test_an_artifact_that_does_not_run_is_named(expected, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3 and no more")
    with pytest.raises(ValueError, match="broken.tflite could not be run: "):
        replay_all([("tflite", broken)], expected)


def test_timed_warms_up_and_counts():
    calls = []
    assert len(replay.timed(lambda: calls.append(1), 4)) == 4
    assert len(calls) == 4 + replay.WARM_UP
    assert replay.timed(lambda: calls.append(1), 0) == []
