"""Which models XLA makes faster."""

import keras


def pays(model):
    """Whether XLA is to compile a model's passes on this machine's TensorFlow.

    On GPUs, yes. On CPUs its depthwise convolutions take 10 to 100 times as long as TensorFlow's operator, so that a
    model that has one is left to TensorFlow; ConvNeXtT takes 3.5 times as long with it. Of the others the seven that
    were measured take 0.66 (ViTR26S32) to 0.86 times as long for one picture, four of them 0.75 to 0.98 for sixteen;
    the first call takes 0.7 to 4.6 s more (2 cores, `predict_on_batch`).
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return True
    return not any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in model._flatten_layers())
