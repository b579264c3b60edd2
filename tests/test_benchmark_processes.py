"""Sides of a benchmark in processes of their own: each runs in the process that has it, and failures are errors.

Run as a module, it is such a process:  python -m tests.test_benchmark_processes FOLDER SIDE...
"""

import pathlib
import sys

import pytest

from benchmarks import processes


def sides(folder, names):
    """Functions that append a line to a file of their name; the one named "bad" fails."""

    def work(name):
        print("a library's output is not an answer")
        if name == "bad":
            raise ValueError(name)
        with open(pathlib.Path(folder, name), "a") as file:
            file.write("once\n")

    return {name: lambda name=name: work(name) for name in names}


def test_sides_run_in_their_processes(tmp_path):
    with processes.served(__name__, (tmp_path, "a", "b"), (tmp_path,), (tmp_path, "c")) as served:
        assert list(served) == ["a", "b", "c"]
        for side in ("a", "c", "a"):
            served[side]()
    assert (tmp_path / "a").read_text().count("once") == 2 and (tmp_path / "c").read_text().count("once") == 1
    assert not (tmp_path / "b").exists()


def test_a_process_that_fails_is_named(tmp_path):
    with processes.served(__name__, (tmp_path, "bad")) as served:
        with pytest.raises(RuntimeError, match=f"{__name__} .* bad ended with status 1"):
            served["bad"]()


if __name__ == "__main__":
    processes.serve(lambda: sides(sys.argv[1], sys.argv[2:]))
