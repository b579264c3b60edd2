import signal
import threading

import pytest

from keras_vit.training.run.signals import Stopped, StopRequest


def test_a_signal_is_recorded_and_the_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopRequest() as request:
        assert request.number is None
        signal.raise_signal(signal.SIGTERM)
        assert request.number == signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


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
