"""The table of verbs, and errors as one sentence and an exit status."""

import importlib
import subprocess
import sys
import types

import pytest

from keras_vit.cli import main as command


def fake_verb(monkeypatch, behaviour):
    """Put a verb `info` in place whose main is `behaviour`."""
    module = types.SimpleNamespace(main=behaviour)
    monkeypatch.setattr(importlib, "import_module", lambda name: module)


def raising(error):
    def behaviour(argv):
        raise error

    return behaviour


@pytest.mark.parametrize("argv", [[], ["--help"], ["help"]])
def test_help_names_every_verb(argv, capsys):
    assert command.main(argv) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in command.VERBS)


def test_version(capsys):
    import keras_vit

    assert command.main(["--version"]) == 0
    assert keras_vit.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("verb", command.VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main([verb, "--help"])
    assert exit_.value.code == 0
    assert f"keras-vit {verb}" in capsys.readouterr().out


LIGHT = [["--help"], ["--version"], ["list"], ["list", "swin*", "--pretrained", "--csv"], ["info", "SwinT.ms_in1k"]]


@pytest.mark.parametrize("argv", [*LIGHT, *([verb, "--help"] for verb in command.VERBS)], ids=" ".join)
def test_help_and_lists_import_neither_keras_nor_tensorflow(argv):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('LOADED', *{'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))\n"
        f"from keras_vit.cli.main import main; sys.exit(main({argv!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["LOADED"] and done.stderr == ""


def test_download_imports_neither_keras_nor_tensorflow(tmp_path):
    code = (
        "import sys\nfrom keras_vit.weights import download\ndownload.fetch = lambda row: sys.argv[1]\n"
        "from keras_vit.cli.main import main; status = main(['download', 'SwinT'])\n"
        "print(status, {'keras', 'tensorflow'} & set(sys.modules))"
    )
    (tmp_path / "w").write_bytes(b"x")
    command_line = [sys.executable, "-c", code, str(tmp_path / "w")]
    done = subprocess.run(command_line, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


def test_unknown_verb_offers_the_closest(capsys):
    assert command.main(["predcit", "x"]) == 2
    error = capsys.readouterr().err
    assert "predcit" in error and "'predict'" in error and error.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("too wide"), FileNotFoundError("too wide")])
def test_errors_are_one_line_and_status_1(monkeypatch, capsys, error):
    fake_verb(monkeypatch, raising(error))
    assert command.main(["info", "x"]) == 1
    assert capsys.readouterr().err == "keras-vit info: too wide\n"


def test_missing_extra_names_it(monkeypatch, capsys):
    error = ModuleNotFoundError("No module named 'rich'", name="rich.progress")
    fake_verb(monkeypatch, raising(error))
    assert command.main(["info", "x"]) == 1
    assert "pip install 'keras-vit-models[train]'" in capsys.readouterr().err


def test_interrupt_has_its_own_status(monkeypatch, capsys):
    fake_verb(monkeypatch, raising(KeyboardInterrupt()))
    assert command.main(["info", "x"]) == 130


def test_a_defect_keeps_its_traceback(monkeypatch):
    fake_verb(monkeypatch, raising(RuntimeError("a defect")))
    with pytest.raises(RuntimeError):
        command.main(["info", "x"])


def test_arguments_and_status_are_passed_on(monkeypatch):
    seen = []
    fake_verb(monkeypatch, lambda argv: seen.append(argv) or 1)
    assert command.main(["info", "a", "--b"]) == 1
    assert seen == [["a", "--b"]]


def test_python_dash_m():
    code = [sys.executable, "-m", "keras_vit", "nonsense"]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "keras-vit: 'nonsense' is no verb" in done.stderr
