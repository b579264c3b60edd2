import threading
import time

from keras_vit.training.run.watchdog import Watchdog


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def hanging_here(event):
    event.wait(20)


def test_the_stacks_of_all_threads_are_written_once_per_stall(tmp_path):
    said, path, event = [], tmp_path / "stalled.txt", threading.Event()
    thread = threading.Thread(target=hanging_here, args=(event,))
    thread.start()
    with Watchdog(path, 0.05 / 60, said.append) as watchdog:
        watchdog.beat("step 7")
        assert wait_for(lambda: said)
        time.sleep(0.3)
        assert len(said) == 1 and "at step 7" in said[0] and str(path) in said[0]
        watchdog.beat("step 8")
        assert wait_for(lambda: len(said) == 2)
    event.set()
    thread.join()
    text = path.read_text()
    assert text.count("nothing moved") == 2 and "at step 8" in text
    assert "hanging_here" in text and "test_the_stacks_of_all_threads" in text
    assert not watchdog.thread.is_alive()


def test_without_a_stall_nothing_is_written(tmp_path):
    said = []
    with Watchdog(tmp_path / "stalled.txt", 2 / 60, said.append) as watchdog:
        for step in range(30):  # longer in all than it may stand still
            watchdog.beat(f"step {step}")
            time.sleep(0.1)
    assert not said and not list(tmp_path.iterdir())


def test_with_0_minutes_there_is_no_watchdog(tmp_path):
    said = []
    with Watchdog(tmp_path / "stalled.txt", 0, said.append):
        time.sleep(0.1)
    assert not said
