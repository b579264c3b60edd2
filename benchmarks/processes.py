"""Sides of a benchmark in processes of their own, so that no library's threads and memory affect another."""

import contextlib
import functools
import json
import os
import subprocess
import sys


@contextlib.contextmanager
def served(module, *each):
    """{side: a function that runs it once} of processes `python -m MODULE ARGUMENTS`, which `serve`.

    Args:
        module: to run, with `serve` in its main part.
        each: the arguments of each process; all are started at once.

    Raises:
        RuntimeError: if a process ends before its answer.
    """
    commands = [[sys.executable, "-m", module, *map(str, arguments)] for arguments in each]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(subprocess.Popen(command, **pipes)) for command in commands]
        yield {side: functools.partial(_work, process, side) for process in running for side in _answer(process)}


def _work(process, side):
    print(side, file=process.stdin, flush=True)
    _answer(process)


def _answer(process):
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(process.args)} ended with status {process.wait()}.")
    return json.loads(line)


def serve(build):
    """In such a process: write the names of the sides of `build()`, {side: function}, and call those that are read."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that nothing that libraries print is read as an answer
    sides = build()
    print(json.dumps(list(sides)), file=answers, flush=True)
    for line in sys.stdin:
        sides[line.strip()]()
        print("null", file=answers, flush=True)
