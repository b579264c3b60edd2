"""Graphs as they are written: without AutoGraph, TensorFlow's translator of Python's `if` and `for`, which none needs.

It would write each function that it translates into a file of the temporary folder, where a process that is killed
leaves it; and tracing takes longer.
"""

import contextlib
import functools
import tempfile


def without_autograph(function):
    """Decorator of a function that traces graphs: all that it calls is traced as it is written."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        import tensorflow as tf

        return tf.autograph.experimental.do_not_convert(function)(*args, **kwargs)

    return call


@contextlib.contextmanager
def translations_in(folder):
    """Context for `tf.saved_model.save`, which has functions of its own translated: their files lie in `folder`."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
