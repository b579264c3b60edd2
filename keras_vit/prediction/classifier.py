"""A Keras model as a classifier of images, whatever it was built as."""


def as_functional(model, size):
    """The model itself where it is a graph of layers; of a subclassed one, a functional model of that one layer.

    Args:
        model: a `keras.Model` of images (B, H, W, 3).
        size: (H, W), in pixels.
    """
    import keras

    if hasattr(model, "inputs"):
        return model
    image = keras.Input((*size, 3), name="image")
    return keras.Model(image, model(image), name=model.name)
