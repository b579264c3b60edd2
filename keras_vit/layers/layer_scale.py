"""LayerScale -- Touvron et al., CaiT, arXiv:2103.17239, Eq. 4: a learned factor per channel of a residual branch."""

import keras
from keras import initializers, layers


@keras.saving.register_keras_serializable("keras_vit")
class LayerScale(layers.Layer):
    """gamma * x, one gamma per channel, initialised to `initial_value`.  Shapes: (..., C) -> same."""

    def __init__(self, initial_value=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.initial_value = initial_value

    def build(self, shape):
        start = initializers.Constant(self.initial_value)
        self.gamma = self.add_weight((shape[-1],), start, name="gamma")

    def call(self, x):
        return x * self.gamma

    def compute_output_shape(self, shape):
        return shape
