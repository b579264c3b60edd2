import io

import pytest
from rich.console import Console

from keras_vit.training.progress import Progress, duration

ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "train_top1": 81.25,
    "eval_loss": 0.25,
    "eval_top1": 97.5,
    "seconds": 30.0,
    "images_per_second": 400.0,
}


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=200, soft_wrap=True)


@pytest.mark.parametrize(
    "seconds, text",
    [(9.4, "9 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (11_220, "3 h 07 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_there_are_plain_lines_only():
    out = console(False)
    with Progress(4, 10, 8, out) as progress:
        progress.header({"model": "Toy", "output": "runs/[red]x"})
        assert not progress.due()
        progress.step(0, 3, 1.0, 0.5)
        progress.epoch(ROW, best=True)
    assert out.file.getvalue().splitlines() == [
        "model   Toy",
        "output  runs/[red]x",
        "epoch   2/4  loss 0.500  accuracy  81.25 %  validation loss 0.250 accuracy  97.50 %  "
        "400 images/s  1 min 00 s left  best",
    ]


def test_a_terminal_gets_a_live_line():
    out = console(True)
    with Progress(4, 10, 8, out) as progress:
        assert progress.due()
        progress.step(2, 4, 0.75, 0.5)
        assert not progress.due()
        progress.bar.refresh()
    assert "epoch 3/4  step 5/10  loss 0.750  accuracy 50.0%" in out.file.getvalue()
