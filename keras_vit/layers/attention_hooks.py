"""Reports of attention weights to an observer; without one, graphs and cost stay what they are.

Letters: B batch (times windows or patches where attention stays inside them), h heads, Q queries, K keys.
"""

import contextlib
import contextvars

_OBSERVER = contextvars.ContextVar("keras_vit_attention_observer", default=None)


@contextlib.contextmanager
def observing(receive):
    """Inside the context, attention that this thread computes is reported to `receive(left, right=None)`.

    Call layers eagerly: in a graph that is being traced the weights are symbolic.

    Args:
        receive: called at each attention, in the order of computation. Without `right`, `left` is the weights
            (B, h, Q, K); with it the weights are `left right^T`, of (B, h, Q, m) and (B, h, K, m), and were never
            formed.
    """
    token = _OBSERVER.set(receive)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def observed():
    """Whether this thread is inside `observing`."""
    return _OBSERVER.get() is not None


def report_attention(weights):
    """Reports `weights()`, `(weights,)` or `(left, right)`, to the observer; not called without one."""
    receive = _OBSERVER.get()
    if receive is not None:
        receive(*weights())


def reported(weights):
    """Attention weights (B, h, Q, K), unchanged, after a report to the observer."""
    report_attention(lambda: (weights,))
    return weights
