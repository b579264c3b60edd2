"""images.py of a folder: how the client prepares an image and prints an answer, cut out of the example of the edge.

Both run without this library, with numpy and Pillow alone; one text says how.
"""

import ast
from pathlib import Path

from keras_vit.export.edge import bundle

FILE = "images.py"
TAKEN = ("MAX_PIXELS, MAX_SIDE", "LARGE", "UPRIGHT") + (
    *("prepare", "central_span", "resize_axis", "read", "resized"),
    *("show_classes", "show_features", "unit", "read_answers", "given"),
)
HEAD = '''\
"""Prepares images as the model was trained on them, and prints its answers; needs numpy and pillow only."""

import json
import math

import numpy as np
from PIL import Image

'''


def text():
    """The content of images.py."""
    source = Path(bundle.EXAMPLE).read_text(encoding="utf-8")
    cut = {_name(node): ast.get_source_segment(source, node) for node in ast.parse(source).body}
    constants, functions = TAKEN[:3], TAKEN[3:]
    return HEAD + "\n".join(cut[name] for name in constants) + "\n\n\n" + "\n\n\n".join(map(cut.get, functions)) + "\n"


def _name(node):
    """What a statement of a module defines."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]).strip("()")
    return getattr(node, "name", None)
