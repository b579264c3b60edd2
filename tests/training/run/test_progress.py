import errno
import io
import re
import sys
import types

import numpy as np
import pytest
from rich.console import Console

from keras_vit.training.run.progress import Progress, duration, memory_in_use

ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "train_top1": 81.25,
    "eval_loss": 0.25,
    "eval_top1": 97.5,
    "seconds": 30.0,
    "images_per_second": 400.0,
}


STEP = {"train_loss": 0.75, "train_top1": 50.0}


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=200, soft_wrap=True)


@pytest.mark.parametrize(
    "seconds, text",
    [(9.4, "9 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (11_220, "3 h 07 min")],
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


class Handle:
    """An output of a notebook that is replaced: what it showed, in order."""

    def __init__(self):
        self.shown = []

    def update(self, shown):
        self.shown.append(shown)


@pytest.fixture
def notebook(monkeypatch):
    """IPython's names as they are in a notebook's kernel; the `Handle` of the one output that is displayed."""
    handle, shell = Handle(), type("ZMQInteractiveShell", (), {})()
    ipython, shows = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython, shows.HTML = lambda: shell, str
    shows.display = lambda shown, display_id: (handle.update(shown), handle)[1]
    for module in (ipython, shows):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return handle


def test_a_notebook_has_lines_and_one_that_is_replaced_and_gone_in_the_end(notebook, capsys):
    with Progress(2, 10, 8) as progress:
        progress.header({"model": "Toy"})
        assert progress.due()
        for step in (5, 10, 15):
            progress.step(step, STEP)
        progress.epoch(ROW, best=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model  Toy" and lines[1].startswith("epoch   2/2  loss 0.500") and len(lines) == 2
    first, *live, last = (re.sub("<[^>]+>", "", shown) for shown in notebook.shown)
    assert first == last == "" and len(live) == 3
    assert live[0].startswith("epoch 1/2  step 5/10  loss 0.750  accuracy 50.0 %") and live[0].endswith("- left")
    assert "█" * 15 + "░" * 5 in live[2] and "images/s" in live[2]


def test_other_workers_show_nothing_in_a_notebook(notebook, capsys):
    with Progress(2, 10, 8, quiet=True) as progress:
        progress.header({"model": "Toy"})
        progress.step(5, STEP)
    assert capsys.readouterr().out == "" and notebook.shown == []


def test_names_that_are_no_utf8_can_be_printed():
    out = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), width=200)
    progress = Progress(1, 1, 1, out)
    progress.header({"data": "caf\udce9"})
    progress.log("replaced: caf\udce9.png")
    out.file.flush()
    assert out.file.buffer.getvalue().splitlines() == [rb"data  caf\xe9", rb"replaced: caf\xe9.png"]


def test_without_a_terminal_there_are_plain_lines_only():
    out = console(False)
    with Progress(4, 10, 8, out) as progress:
        progress.header({"model": "Toy", "output": "runs/[red]x"})
        assert not progress.due()
        progress.step(4, STEP)
        progress.epoch(ROW, best=True)
    assert out.file.getvalue().splitlines() == [
        "model   Toy",
        "output  runs/[red]x",
        "epoch   2/4  loss 0.500  accuracy  81.25 %  validation loss 0.250 accuracy  97.50 %  "
        "400 images/s  1 min 00 s left  best",
    ]


def test_the_time_left_follows_the_work_of_each_epoch():
    out = console(False)
    with Progress(4, 10, 8, out, work=[1, 2, 4, 8]) as progress:
        progress.epoch(ROW, best=False)
    assert out.file.getvalue().endswith("400 images/s  3 min 00 s left\n")  # six times the 30 s of epoch 2


def test_a_terminal_gets_a_live_line():
    out = console(True)
    with Progress(4, 10, 8, out) as progress:
        assert progress.due()
        progress.step(25, STEP)
        assert not progress.due()
        progress.bar.refresh()
    line = "epoch 3/4  step 5/10  loss 0.750  accuracy 50.0 %"
    assert line in out.file.getvalue() and " GiB" in out.file.getvalue()


def test_a_quiet_progress_prints_nothing():
    out = console(True)
    with Progress(4, 10, 8, out, quiet=True) as progress:
        progress.header({"model": "Toy"})
        progress.step(25, STEP)
        progress.epoch(ROW, best=True)
        progress.log("hello")
        assert not progress.due()
    assert out.file.getvalue() == ""


def test_memory_is_that_of_this_process():
    before, array = memory_in_use(), np.ones(2**25)  # 256 MiB
    assert memory_in_use() - before > 0.9 * array.nbytes


def test_the_live_line_has_the_peak_of_the_memory(monkeypatch):
    used = iter((3 * 2**30, 2**30))
    monkeypatch.setattr("keras_vit.training.run.progress.memory_in_use", lambda: next(used))
    with Progress(4, 10, 8, console(True)) as progress:
        progress.step(1, STEP)
        progress.step(2, STEP)
        assert progress.bar.tasks[0].description.endswith("  3.0 GiB")


class Closed(io.StringIO):
    """A terminal that is not there any longer, or a disk that is full."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, "closed")


def test_a_closed_terminal_stops_the_output_and_not_the_run():
    progress = Progress(1, 1, 1, Console(file=Closed(errno.EIO)))
    progress.log("one")
    progress.header({"name": "value"})
    with pytest.raises(OSError, match="closed"):
        Progress(1, 1, 1, Console(file=Closed(errno.ENOSPC))).log("one")
