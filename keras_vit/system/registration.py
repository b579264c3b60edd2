"""This library's layers known to Keras as soon as Keras is there, though `import keras_vit` does not import it.

`keras.saving.load_model` finds the layers of a `.keras` file among the registered classes only, so `import keras_vit`
has to register them; but importing Keras takes seconds, which a program that lists models need not wait for.
"""

import importlib
import importlib.abc
import importlib.util
import sys

MODELS = "keras_vit.models"  # whose import registers every layer


def register_layers():
    """Register now if Keras is imported, else when it is."""
    if "keras" in sys.modules:
        importlib.import_module(MODELS)
    else:
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds nothing; at the first `import keras` makes its loader import the models afterwards."""

    _searching = False

    def find_spec(self, name, path=None, target=None):
        if name != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module):
                sys.meta_path.remove(self)  # not before: TensorFlow looks for Keras without importing it
                load(module)
                importlib.import_module(MODELS)

            spec.loader.exec_module = load_and_register
        return spec
