"""TensorFlow's start in a process of this library's own: the command, its server and workers, benchmarks, replays.

What TensorFlow reads from the environment is set here and nowhere else, before it is imported; `import keras_vit` in
somebody's program sets nothing and shows everything. TensorFlow's libraries log before they read
TF_CPP_MIN_LOG_LEVEL (2.21: that oneDNN is on, that there is no CUDA), so that the variable alone cannot silence them;
LiteRT does not read it.
"""

import contextlib
import os
import re
import sys
import tempfile
import threading
from pathlib import Path

from keras_vit.system import ends, files
from keras_vit.system.ends import is_command

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # 0: all, 1: no information, 2: no warnings, 3: no errors
# TensorFlow turns oneDNN on only where the CPU has AVX512-VNNI or the like. Without oneDNN SwinT's training step takes
# twice as long on an AMD EPYC of family 25 that has no AVX-512, and graphs 1.1 to 1.5 times (docs/speed.md).
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
INFORMATION = re.compile(
    rb"^(?:I0000 |INFO: |WARNING: All log messages before absl::InitializeLog\(\)).*\n", re.MULTILINE
)
NO_INTEGERS = re.compile(rb"^E0000 .*oneDNN supports DT_U?INT8 only .*\n", re.MULTILINE)  # Eigen's is as good
NO_CUDA = re.compile(rb"^E0000 .*failed call to cuInit.*\n", re.MULTILINE)  # an error that is none without a GPU

_REDIRECTED = threading.RLock()  # standard error is the whole process's: one thread at a time


def environment(level="2"):
    """The environment for a process of this library's own: the user's, with what TensorFlow should find in it added."""
    return {LEVEL: level, ONEDNN: "1", **os.environ}


def set_environment(level="2"):
    """Make it this process's environment; to be called before TensorFlow is imported."""
    os.environ.update(environment(level))


def start_tensorflow():
    """Import Keras, and TensorFlow where it is the backend, and find the devices, without lines for nobody.

    In `keras-vit`, temporary files lie together from now on. In another program nothing is set and nothing dropped.
    """
    if is_command():
        set_environment()
    with ends.starting(), quiet():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
    if is_command():
        files.keep_temporaries_together()


@contextlib.contextmanager
def quiet():
    """In `keras-vit`'s own process, drop the information that libraries log in here, and that there is no GPU.

    Everything is shown at level 0. What else is written to stderr meanwhile appears at the end.
    """
    if not is_command() or os.environ.get(LEVEL, "2") == "0":
        yield
        return
    with _REDIRECTED:
        yield from _redirected()


def _redirected():
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        ends.STATE.stderr = kept
        try:
            yield
        finally:
            ends.STATE.stderr = 2
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            shown = NO_INTEGERS.sub(b"", INFORMATION.sub(b"", written.read()))
            os.write(2, shown if has_gpu() else NO_CUDA.sub(b"", shown))


def has_gpu():
    """Whether the system shows an NVIDIA GPU, whatever CUDA makes of it."""
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia").exists() or os.name == "nt"
