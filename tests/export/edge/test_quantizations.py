from keras_vit.export.edge import quantizations
from keras_vit.export.edge.quantize import ACTIVATION_BITS, OPERATORS


def test_the_quantizer_has_every_quantization():
    assert set(OPERATORS) == set(quantizations.QUANTIZATIONS) >= set(quantizations.DEFAULT)
    assert set(ACTIVATION_BITS) == set(quantizations.STATIC) < set(quantizations.QUANTIZATIONS)
