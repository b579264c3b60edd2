"""Lines of progress, on a terminal and in a log."""

import io

import pytest

from keras_vit.cli.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(stream, times):
    clock = iter(times)
    return Progress(1000, "images", stream, lambda: next(clock))


def test_a_terminal_has_one_live_line_with_rate_and_time_left():
    stream = Terminal()
    shown = progress(stream, [0, 10, 11, 11.1, 20])
    for done in (10, 30, 31, 210):
        shown(done)
    shown.close()
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines == [
        "",
        "10 of 1,000 images",
        *[f"{done} of 1,000 images, 20 a second, {left} left" for done, left in ((30, "48 s"), (210, "40 s"))],
        "",
    ]


def test_a_log_has_a_line_every_half_a_minute():
    stream = io.StringIO()
    shown = progress(stream, [0, 1, 20, 31, 40, 61])
    for done in (10, 200, 310, 400, 610):
        shown(done)
    shown.close()
    assert stream.getvalue() == (
        "310 of 1,000 images, 10 a second, 1 min 09 s left\n610 of 1,000 images, 10 a second, 39 s left\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (65, "1 min 05 s"), (3599, "59 min 59 s"), (11220, "3 h 07 min")]
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text
