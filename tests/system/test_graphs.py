"""No file of AutoGraph's stays in the temporary folder: none is made, or it lies where all is removed."""

import os
import subprocess
import sys

import pytest

from keras_vit.system.graphs import without_autograph

PROGRAM = """
import os, sys
import tensorflow as tf
from keras_vit.system.graphs import without_autograph
from keras_vit.system.files import scratch_folder, temporaries_in
def plus(x):
    return x + 1
@without_autograph
def work():
    return [int(x) for x in tf.data.Dataset.range(2).map(plus).map(lambda x: plus(x))]
assert work() == [2, 3]
module = tf.Module()
module.f = tf.function(plus, [tf.TensorSpec([], tf.int64)], autograph=False)
with scratch_folder() as folder, temporaries_in(folder):
    tf.saved_model.save(module, sys.argv[1])
os._exit(0)  # as if killed: what is removed at the end of Python stays
"""


@pytest.mark.slow  # `tests/training/test_resume.py` has the same of training
def test_a_process_that_is_killed_leaves_none(tmp_path):
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary"), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "saved")], env=environment, check=True)
    assert list((tmp_path / "temporary").iterdir()) == [] and (tmp_path / "saved" / "saved_model.pb").is_file()


def test_the_function_is_as_before():
    @without_autograph
    def named(a, *, b):
        """Text."""
        return a, b

    assert named(1, b=2) == (1, 2) and (named.__name__, named.__doc__) == ("named", "Text.")
