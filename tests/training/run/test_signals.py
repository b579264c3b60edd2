import signal
import threading

import pytest

from keras_vit.training.run.signals import Stopped, StopRequest

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_recorded_and_the_handlers_are_restored(number):
    before = [signal.getsignal(number) for number in NUMBERS]
    with StopRequest() as request:
        assert request.number is None
        signal.raise_signal(number)
        assert request.number == number
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as request:
            signal.raise_signal(signal.SIGHUP)
            assert request.number is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_interrupt_is_immediate():
    with StopRequest() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_install_no_handlers():
    seen = []

    def work():
        with StopRequest() as request:
            seen.append(request.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_the_message_of_a_stopped_run():
    assert str(Stopped(12, signal.SIGTERM)) == "Stopped and saved after step 12; the same command continues from there."
