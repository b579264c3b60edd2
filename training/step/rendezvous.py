"""Where the workers of a run find each other, before TensorFlow waits for them: silently, for good, deaf to signals.

Each worker listens at its address of TF_CONFIG until it has reached all others, and then gives the port to TensorFlow's
server; a connection is closed as soon as it is made, and nothing is said on it.
"""

import contextlib
import faulthandler
import os
import signal
import socket
import threading
import time

FIRST, AGAIN = 15, 60  # seconds until it is said who is waited for, and until it is said again
PAUSE = 0.25  # seconds between two attempts to reach a worker


def meet(addresses, index, timeout, log):
    """Wait until every other worker listens, or has begun.

    Args:
        addresses: "host:port" of all workers.
        index: which of them is this process.
        timeout: seconds.
        log: called with lines that say who is waited for.
    Raises:
        ValueError: if this worker cannot listen at its address.
        ConnectionError: naming the workers that did not come in time.
    """
    missing, over = {i: address for i, address in enumerate(addresses) if i != index}, threading.Event()
    answering = threading.Thread(target=_answer, args=(_listen(addresses[index]), over), daemon=True)
    answering.start()
    for i, address in dict(missing).items():
        threading.Thread(target=_seek, args=(i, address, missing, over), daemon=True).start()
    begun = said = time.monotonic()
    try:
        while missing:
            now = time.monotonic()
            if now - begun >= timeout:
                raise ConnectionError(_given_up(missing, timeout))
            if now - said >= (FIRST if said == begun else AGAIN):
                said = now
                log(_waiting(missing, timeout - (now - begun)))
            time.sleep(0.05)
    finally:
        over.set()
        answering.join()  # the port is free for TensorFlow's server


@contextlib.contextmanager
def patience(timeout):
    """Context around TensorFlow's own wait, in which no line of Python runs: signals end the process, and `timeout`.

    After as many seconds faulthandler, whose clock does not need Python, writes where it waits and ends it, status 1.
    """
    alone = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGTERM) if alone}
    with open(os.dup(2), "w") as stream:  # standard error may be replaced by an object without a file
        faulthandler.dump_traceback_later(timeout, exit=True, file=stream)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            for number, handler in before.items():
                signal.signal(number, handler)


def _seek(i, address, missing, over):
    """Take a worker from the missing as soon as it can be reached."""
    host, port = _split(address)
    while not over.is_set():
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), timeout=5).close()
            missing.pop(i, None)
            return
        over.wait(PAUSE)


def _listen(address):
    """A socket on the port of an address, on all interfaces, as TensorFlow's server will be."""
    _, port = _split(address)
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=128
        )
    except OSError as error:
        raise ValueError(
            f"This worker, {address} in TF_CONFIG, cannot listen on its port {port}: {error.strerror or error}. "
            "End the process that does, or give another port to all workers."
        ) from error


def _answer(listening, over):
    listening.settimeout(PAUSE)  # a socket that a thread waits at is not closed
    with listening:
        while not over.is_set():
            with contextlib.suppress(OSError):
                listening.accept()[0].close()


def _split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _waiting(missing, left):
    return f"Waiting for {_named(missing)}, of TF_CONFIG; giving up in {left:.0f} s (worker_timeout)."


def _given_up(missing, timeout):
    return (
        f"{_named(missing)} did not come within worker_timeout={timeout:g} seconds. Start all workers that TF_CONFIG "
        "lists, with addresses that all of them can reach, or give a longer --worker-timeout."
    )


def _named(missing):
    workers = [f"worker {i} at {address}" for i, address in sorted(missing.copy().items())]
    return ", ".join(workers[:5]) + (f" and {len(workers) - 5} more" if len(workers) > 5 else "")
