"""The lines TensorFlow and LiteRT write to stderr while they are loaded, kept from the shells of `keras-vit`'s users.

TensorFlow's libraries log before they read TF_CPP_MIN_LOG_LEVEL (2.21: that oneDNN is on, that there is no CUDA), so
that the variable alone cannot silence them; LiteRT does not read it. Programs that import this library see it all.
"""

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # 0: all, 1: no information, 2: no warnings, 3: no errors
INFORMATION = re.compile(
    rb"^(?:I0000 |INFO: |WARNING: All log messages before absl::InitializeLog\(\)).*\n", re.MULTILINE
)


def is_command():
    """Whether this process is `keras-vit` or `python -m keras_vit`."""
    return Path(*sys.argv[:1]).stem == "keras-vit" or sys.orig_argv[1:3] == ["-m", "keras_vit"]


@contextlib.contextmanager
def loading():
    """Load them in here, or a model into them: in `keras-vit`'s own process, information that they log is dropped.

    So it is from then on, warnings too, unless the user has set TF_CPP_MIN_LOG_LEVEL; at level 0 all is shown. What
    else is written to stderr meanwhile appears at the end.
    """
    if not is_command() or os.environ.setdefault(LEVEL, "2") == "0":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            os.write(2, INFORMATION.sub(b"", written.read()))
