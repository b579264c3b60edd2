"""What touches the machine: files and locks, TensorFlow's start, Keras' registry and private interfaces, XLA.

And the limits on what comes from elsewhere.
"""
