"""Two logical CPU devices for every test, and Keras' global state as it was after each."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import keras  # noqa: E402 - after the environment it reads
import pytest  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a shell starts with &; tests interrupt processes
    signal.signal(signal.SIGINT, signal.default_int_handler)

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(autouse=True)
def keras_state(request):
    """The dtype policy, the image data format, the random seeds and what is not initialised are every test's own.

    A model that was built for its shapes alone leaves its variables in a list, and the next test that calls a layer
    without compute_output_shape would give values to them all: gigabytes. So do the large models of slow tests, which
    reference themselves, until Python looks for such cycles: it is told to.
    """
    policy, data_format = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.utils.set_random_seed(0)
    yield
    keras.utils.clear_session(free_memory=request.node.get_closest_marker("slow") is not None)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(data_format)
