"""Speed and memory against other libraries, `python -m benchmarks.NAME` each; docs/speed.md has the results."""

from keras_vit.system.startup import set_environment

set_environment("3")  # for every benchmark, before it imports TensorFlow
