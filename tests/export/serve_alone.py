"""The development server in a process that can import neither Keras nor this library, except export/ and system/.

python -P serve_alone.py BUNDLE GRACE      prints the server's URL and its gRPC address once it listens
"""

import importlib.machinery
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Refuse:
    """Finds Keras and this library's other modules, and cannot load them."""

    def find_spec(self, name, path=None, target=None):
        package, _, rest = name.partition(".")
        if package not in ("keras", "tf_keras") and (package != "keras_vit" or rest.startswith(("export", "system"))):
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=f"/refused/{name}/__init__.py")

    def create_module(self, spec):
        raise ImportError(f"{spec.name} is refused here", name=spec.name)

    def exec_module(self, module):
        """Never reached."""


def main(bundle, grace):
    for name, folder in (("keras_vit", ROOT / "keras_vit"), ("keras_vit.export", ROOT / "export")):
        package = types.ModuleType(name)  # without running its __init__
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    sys.meta_path.insert(0, Refuse())
    from keras_vit.export.devserver.app import Patience, serve

    def ready(url, models, grpc_address):
        print(url, grpc_address, "keras" in sys.modules, flush=True)

    serve(bundle, port=0, poll=0.2, ready=ready, patience=Patience(grace=float(grace)), grpc_port=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
