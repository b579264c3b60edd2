"""Graphs as they are written: without AutoGraph, TensorFlow's translator of Python's `if` and `for`, which none needs.

It would write each function that it translates into a file of the temporary folder, where a process that is killed
leaves it; and tracing takes longer.
"""

import functools


def without_autograph(function):
    """Decorator of a function that traces graphs: all that it calls is traced as it is written."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        import tensorflow as tf

        return tf.autograph.experimental.do_not_convert(function)(*args, **kwargs)

    return call
