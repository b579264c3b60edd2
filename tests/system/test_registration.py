"""The library's layers are registered with Keras, whichever of the two is imported first."""

import subprocess
import sys

import pytest

CHECK = """
import sys
import {first}
assert ("keras" in sys.modules) == ({first!r} == "keras"), "keras_vit imported Keras"
import {second}
import keras
print(sum(name.startswith("keras_vit>") for name in keras.saving.get_custom_objects()))
"""


@pytest.mark.parametrize("first, second", [("keras_vit", "keras"), ("keras", "keras_vit")])
def test_layers_are_registered_in_either_order_of_imports(first, second):
    code = CHECK.format(first=first, second=second)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


@pytest.mark.slow  # the two orders of imports say most
def test_layers_are_registered_after_a_search_without_an_import():
    code = "import importlib.util\nimport keras_vit\nassert importlib.util.find_spec('keras')\n"
    code += CHECK.format(first="keras_vit", second="keras")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
