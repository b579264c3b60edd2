"""The initial values that every family shares."""

from keras import initializers


def truncated_normal():
    """Normal with standard deviation 0.02, cut at two of them: kernels, tokens, positions and bias tables.

    The value every published training script of these families uses.
    """
    return initializers.TruncatedNormal(stddev=0.02)
