"""TensorFlow can optimise the graphs: where one of its rewrites fails it gives up on the function, and says so."""

import os
import subprocess
import sys

import pytest

from tests.models.cases import one_per_family, params

TRACED = """
import sys
import tensorflow as tf
from tests.models.test_contract import build, random_images
toy = sys.argv[1]
model = build(toy)
tf.function(lambda x: model(x, training=False), autograph=False)(tf.constant(random_images(toy)))
"""


@pytest.mark.parametrize("toy", params({"coat_lite"}, one_per_family()))
def test_no_rewrite_fails(toy):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "0", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", TRACED, toy]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "I0000" in done.stderr  # TensorFlow's messages are there
    assert "optimizer" not in done.stderr and "optimization failure" not in done.stderr
