"""What XLA makes faster."""

import keras

from keras_vit.system import keras_private


def pays(model):
    """Whether XLA is to compile prediction with a model on this machine's TensorFlow.

    On GPUs, yes. On CPUs its depthwise convolutions take 10 to 100 times as long as TensorFlow's operator, so that a
    model that has one is left to TensorFlow; ConvNeXtT takes 3.5 times as long with it. Of the others the seven that
    were measured take 0.66 (ViTR26S32) to 0.86 times as long for one image, four of them 0.75 to 0.98 for sixteen;
    the first call takes 0.7 to 4.6 s more (2 cores, `predict_on_batch`).
    """
    depthwise = any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in keras_private.all_layers(model))
    return _on_gpus() or not depthwise


def pays_in_training():
    """Whether XLA is to compile the steps of training and of evaluation.

    On GPUs, yes. On CPUs TensorFlow's graph takes 0.81 (ViTS16), 0.81 (ViTR26S32), 0.84 (SwinT) and 1.01 times (TNTS)
    as long as XLA for a step on 16 images, with 90 to 240 MiB less memory (2 cores, medians of five steps, one form
    after the other).
    """
    return _on_gpus()


def _on_gpus():
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))
