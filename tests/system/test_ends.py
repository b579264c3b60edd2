"""What a signal does to the command: at its start, at work, in a call that does not return; not to other programs."""

import os
import signal
import subprocess
import sys
import time

import pytest

from keras_vit.system import ends

COMMAND = "import sys; sys.argv = ['/usr/bin/keras-vit']\n"
STARTING = """
import keras_vit, os
from keras_vit.system import ends
class Lost:  # an exception here is printed and lost
    def __del__(self): os.kill(os.getpid(), {number}); sum(range(100))
Lost()
try:
    with ends.starting(): os.kill(os.getpid(), {number}); sum(range(100))
except BaseException as error:
    print("caught", error)
"""
WORKING = """
import keras_vit, os, sys
from keras_vit.system import ends
def work():
    try:
        os.kill(os.getpid(), {number})
        sum(range(100))
    finally:
        print("tidied", flush=True)
try:
    with ends.working():
        work()
except KeyboardInterrupt:
    sys.exit(130)
"""
DEAF = """
import keras_vit, ctypes
from keras_vit.system import ends
ends.GRACE = 0.3
lock = ctypes.create_string_buffer(64)
with ends.working():
    print("waiting", flush=True)
    for _ in range(2): ctypes.CDLL(None).pthread_mutex_lock(lock)
"""
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def run(program, number, before=COMMAND):
    code = before + program.replace("{number}", str(int(number)))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_starts_a_signal_is_a_line_and_the_end_even_where_exceptions_are_lost(number):
    done = run(STARTING, number)
    word = "interrupted" if number == signal.SIGINT else "ended"
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"\nkeras-vit: {word}\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_at_work_a_signal_lets_what_is_open_be_tidied(number):
    done = run(WORKING, number)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "tidied\n", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_call_that_does_not_return_is_ended_after_a_while(number):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    deaf = subprocess.Popen([sys.executable, "-c", COMMAND + DEAF], **pipes)
    assert deaf.stdout.readline() == "waiting\n"
    time.sleep(0.3)  # until it is in the call
    deaf.send_signal(number)
    _, errors = deaf.communicate(timeout=30)
    assert deaf.returncode == 128 + number and "keras-vit: " in errors


def test_what_nohup_ignores_stays_ignored():
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + COMMAND
    done = run(WORKING + "\nprint('to the end')", signal.SIGHUP, code)
    assert (done.returncode, done.stdout) == (0, "tidied\nto the end\n")


@pytest.mark.parametrize("number, status", [(signal.SIGINT, -2), (signal.SIGTERM, -15)])
def test_other_programs_keep_their_handlers(number, status):
    assert run(WORKING.replace("except KeyboardInterrupt", "except ValueError"), number, "").returncode == status


@pytest.mark.parametrize(
    "argv, orig, expected",
    [
        (["/usr/bin/keras-vit", "list"], ["python", "/usr/bin/keras-vit"], True),
        (["keras-vit.exe"], ["keras-vit.exe"], True),
        (["-m"], ["python", "-m", "keras_vit", "list"], True),
        (["train.py"], ["python", "train.py"], False),
        ([], ["python"], False),
    ],
)
def test_the_command_is_recognised(monkeypatch, argv, orig, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig)
    assert ends.is_command() is expected


def test_a_thread_hears_of_signals_and_the_descriptor_before_is_restored():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with ends.woken(heard.append):
            os.kill(os.getpid(), signal.SIGUSR1)
            for _ in range(1000):
                if heard:
                    break
                signal.sigtimedwait([], 0.01)
        assert heard == [signal.SIGUSR1] and signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGUSR1, before)
