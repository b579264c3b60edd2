import os
import subprocess
import sys

import pytest

from keras_vit import quiet

BANNER = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
"""
ELSE = b"E0000 00:00:1.2 3 cuda.cc:1] failed\na line without an end: I0000 "


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/keras-vit", "list"])
    monkeypatch.delenv(quiet.LEVEL, raising=False)


def written(capfd):
    with quiet.loading():
        os.write(2, BANNER + ELSE)
    os.write(2, b"afterwards\n")
    return capfd.readouterr().err


def test_information_is_dropped_and_all_else_shown(command, capfd):
    assert written(capfd) == ELSE.decode() + "afterwards\n"
    assert os.environ[quiet.LEVEL] == "2"


def test_a_level_of_the_users_stays(command, capfd, monkeypatch):
    monkeypatch.setenv(quiet.LEVEL, "1")
    assert "oneDNN" not in written(capfd)
    assert os.environ[quiet.LEVEL] == "1"


def test_level_0_shows_all(command, capfd, monkeypatch):
    monkeypatch.setenv(quiet.LEVEL, "0")
    assert written(capfd) == (BANNER + ELSE).decode() + "afterwards\n"


@pytest.mark.parametrize("argv", [["train.py"], []])
def test_programs_that_import_the_library_are_left_alone(argv, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.delenv(quiet.LEVEL, raising=False)
    assert "oneDNN" in written(capfd)
    assert quiet.LEVEL not in os.environ


def test_an_error_is_shown_with_what_was_written_before_it(command, capfd):
    with pytest.raises(ImportError):
        with quiet.loading():
            os.write(2, BANNER + ELSE)
            raise ImportError("no TensorFlow")
    assert capfd.readouterr().err == ELSE.decode()


def test_a_verb_writes_nothing_but_its_answer():
    environment = {name: value for name, value in os.environ.items() if name != quiet.LEVEL}
    code = [sys.executable, "-m", "keras_vit", "list", "swint"]
    done = subprocess.run(code, capture_output=True, text=True, check=True, env=environment)
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "1 models")
