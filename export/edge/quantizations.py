"""The quantizations by name, for whoever lists or checks them; nothing is imported here."""

QUANTIZATIONS = ("none", "float16", "dynamic_int8", "int8", "int16x8")
DEFAULT = ("none", "dynamic_int8")
WEB = ("float16", "none", "dynamic_int8")  # of a page's file, the default first; the others give scores in 255 steps
STATIC = ("int8", "int16x8")  # with measured ranges; these take uint8
FITTED = ("dynamic_int8", "int8")  # whose weights are fitted to images, where there are any
MAX_LOSS = 0.5  # points of accuracy, in percent, that a quantized file may lose
