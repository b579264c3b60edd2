"""Runs the blocks of a page in order, as its reader would:  python -m tests.docs.page docs/serving.md FOLDER

Blocks of Python share one namespace; those of the shell are given to bash, which stops at the first command that fails.
What a block leaves running, such as a server, is ended after the last one. Servers of two pages wait for each other,
since the pages name the port.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.docs.blocks import blocks

# Names that a page takes as given.
GIVEN = {"README.md": {"pixels": np.zeros((2, 300, 400, 3), "uint8")}}


def run(page, folder, languages=("python", "shell")):
    """Run those blocks of a page whose language is among `languages` in a folder; raises at the first that fails."""
    chosen = [block for block in blocks(page) if block.language in languages]
    namespace = {"__name__": "__main__", **GIVEN.get(page, {})}
    with contextlib.ExitStack() as stack:
        if "shell" in languages and any("keras-vit serve" in block.code for block in chosen):
            stack.enter_context(_port())
        stack.enter_context(contextlib.chdir(folder))
        for block in chosen:
            print(f"== {block.place}", flush=True)
            if block.language == "python":
                source = "\n" * (block.line - 1) + block.code  # so that a traceback names the page's line
                exec(compile(source, page, "exec"), namespace)
            else:
                _bash(block, stack)


def _bash(block, stack):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", block.code]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    stack.callback(_end, process)
    if process.wait():
        raise RuntimeError(f"{block.place}: exit status {process.returncode}")


def _end(process):
    """End what a block of the shell has started and left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


@contextlib.contextmanager
def _port():
    with open(Path(tempfile.gettempdir()) / "keras_vit_pages_port.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    run(*sys.argv[1:3])
