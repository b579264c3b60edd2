"""Attention weights, told to whoever observes them; where nobody does, graphs and cost are what they were.

Letters: B batch (times windows or patches where attention stays inside them), h heads, Q queries, K keys.
"""

import contextlib
import contextvars

_OBSERVER = contextvars.ContextVar("keras_vit_attention_observer", default=None)


@contextlib.contextmanager
def observing(receive):
    """Attention that this thread computes inside the context is told to `receive(left, right=None)`.

    Layers are to be called eagerly: in a graph that is being traced the weights are symbolic.

    Args:
        receive: called at each attention, in the order of computation. Without `right`, `left` is the weights
            (B, h, Q, K); with it they are `left right^T`, of (B, h, Q, m) and (B, h, K, m), and were never formed.
    """
    token = _OBSERVER.set(receive)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def observed():
    """Whether somebody observes."""
    return _OBSERVER.get() is not None


def report_attention(weights):
    """Tells the observer, if there is one, what `weights()` gives: `(weights,)` or `(left, right)`."""
    receive = _OBSERVER.get()
    if receive is not None:
        receive(*weights())
