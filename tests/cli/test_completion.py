"""What the tab key offers, as the shells ask for it: by the line in the environment, answers on descriptor 8."""

import os
import subprocess
import sys

import pytest

from keras_vit.cli import main
from keras_vit.cli.completion import command_parser

CODE = "import sys; sys.argv[0] = 'keras-vit'; from keras_vit.cli.main import main; main()"


def offered(line, folder):
    """The completions of a line, by a process of the command's own, and the modules that it loaded."""
    reader, writer = os.pipe()
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    code = f"import os; os.dup2({writer}, 8); os.dup2({writer}, 9); {CODE}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, pass_fds=(writer,), capture_output=True, check=False
    )
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    assert done.returncode == 0, done.stderr
    return text.split("\n")


@pytest.mark.parametrize(
    "line, expected",
    [
        ("keras-vit ", set(main.VERBS)),
        ("keras-vit comp", {"compare"}),
        ("keras-vit info Swin", {"SwinT", "SwinS", "SwinB", "SwinL", "SwinB384", "SwinL384"}),
        ("keras-vit info SwinT.ms_in22k_", {"SwinT.ms_in22k_ft_in1k"}),
        ("keras-vit predict SwinS", {"SwinS", "SwinShow/"}),
        ("keras-vit train --model ViTTi1", {"ViTTi16"}),
        ("keras-vit train --recipe quick", {"quickstart"}),
        ("keras-vit convert x --quant dyn", {"dynamic_int8"}),
    ],
)
def test_verbs_models_and_tags(line, expected, tmp_path):
    (tmp_path / "SwinShow").mkdir()
    assert expected <= {answer.strip() for answer in offered(line, tmp_path)}


def test_one_parser_holds_every_verb_and_imports_nothing_heavy():
    code = (
        "import sys; from keras_vit.cli import completion, main; completion.command_parser(main.parsers())\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    text = command_parser(main.parsers()).format_help()
    assert all(verb in text for verb in main.VERBS)
