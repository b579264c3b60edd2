"""What TensorFlow finds in the environment, and what of its output the command's users see."""

import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keras_vit.system import startup

MADE = Path(__file__).parents[1] / "golden" / "made_by_8b2a81b.zip"
BANNER = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
E0000 00:00:1.2 3 util.cc:131] oneDNN supports DT_UINT8 only on platforms with AVX-512. Falling back to the default.
"""
NO_GPU = b"E0000 00:00:1.2 3 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: UNKNOWN ERROR (303)\n"
ELSE = b"E0000 00:00:1.2 3 cuda.cc:1] failed\na line without an end: I0000 "


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/keras-vit", "list"])
    monkeypatch.setattr(startup.files, "keep_temporaries_together", lambda: None)  # not those of the tests
    for name in (startup.LEVEL, startup.ONEDNN):
        monkeypatch.delenv(name, raising=False)


def written(capfd):
    with startup.quiet():
        os.write(2, BANNER + NO_GPU + ELSE)
    os.write(2, b"afterwards\n")
    return capfd.readouterr().err


@pytest.mark.parametrize("gpu", [False, True])
def test_information_is_dropped_and_all_else_shown(gpu, command, capfd, monkeypatch):
    """That CUDA does not start is an error where there is a GPU, and nothing where there is none."""
    monkeypatch.setattr(startup, "has_gpu", lambda: gpu)
    assert written(capfd) == (NO_GPU * gpu + ELSE).decode() + "afterwards\n"


def test_level_0_shows_all(command, capfd, monkeypatch):
    monkeypatch.setenv(startup.LEVEL, "0")
    assert written(capfd) == (BANNER + NO_GPU + ELSE).decode() + "afterwards\n"


@pytest.mark.parametrize("argv", [["train.py"], []])
def test_other_programs_see_everything(argv, command, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert written(capfd) == (BANNER + NO_GPU + ELSE).decode() + "afterwards\n"


def test_threads_take_turns_and_leave_standard_error_as_it_was(command, capfd):
    def write(number):
        with startup.quiet():
            os.write(2, BANNER + b"%d\n" % number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(20)))
    os.write(2, b"afterwards\n")
    lines = capfd.readouterr().err.split()
    assert sorted(lines[:-1], key=int) == [str(number) for number in range(20)] and lines[-1] == "afterwards"


def test_an_error_is_shown_with_what_was_written_before_it(command, capfd):
    with pytest.raises(ImportError):
        with startup.quiet():
            os.write(2, BANNER + ELSE)
            raise ImportError("no TensorFlow")
    assert capfd.readouterr().err == ELSE.decode()


def test_the_environment_has_what_tensorflow_reads_and_the_users_own_values_win(command, monkeypatch):
    assert startup.environment().items() >= {startup.LEVEL: "2", startup.ONEDNN: "1"}.items()
    assert startup.environment("3")[startup.LEVEL] == "3" and startup.LEVEL not in os.environ
    monkeypatch.setenv(startup.LEVEL, "1")
    monkeypatch.setenv(startup.ONEDNN, "0")
    monkeypatch.setenv("KERAS_VIT_TEST", "x")
    startup.set_environment("3")
    assert [os.environ[name] for name in (startup.LEVEL, startup.ONEDNN, "KERAS_VIT_TEST")] == ["1", "0", "x"]


@pytest.mark.parametrize("argv, expected", [(["/usr/local/bin/keras-vit", "predict"], "1"), (["train.py"], None)])
def test_the_environment_is_set_in_the_commands_own_process_alone(argv, expected, command, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    startup.start_tensorflow()
    assert os.environ.get(startup.ONEDNN) == expected


@pytest.mark.slow  # its parts are above
def test_a_verb_that_starts_tensorflow_writes_nothing_but_its_answer(tmp_path):
    with zipfile.ZipFile(MADE) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith("run/")])
    run, image = tmp_path / "run", next((tmp_path / "run").rglob("*.png"))
    environment = {name: value for name, value in os.environ.items() if name not in (startup.LEVEL, startup.ONEDNN)}
    code = [sys.executable, "-m", "keras_vit", "predict", str(run), str(image), "--top", "1"]
    done = subprocess.run(code, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == "" and done.stdout.startswith(f"{image}\n  ")
