"""Send images to Triton or OpenVINO Model Server by the Open Inference Protocol (v2).

pip install 'tritonclient[http]' numpy pillow
python3 client.py image.jpg                     print the best classes, or the features
python3 client.py --url host:8000 *.jpg         of another server
python3 client.py --check                       compare its answers for the stored examples with the stored ones

The server's model takes pixels of its own size: images are decoded and prepared here, as images.py does it.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from images import prepare, show_classes, show_features
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

HERE = Path(__file__).resolve().parent
INPUT, FIRST = "images", "probabilities"  # the latter before known_score


def main(argv=None):
    """Returns 0; 1 after an error, an image that cannot be read or an answer that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image files")
    parser.add_argument("--url", default="localhost:8000", help="the server's HTTP port (default: %(default)s)")
    parser.add_argument("--model", help="name of the model (default: the only one of this folder)")
    parser.add_argument("--version", help="of the model (default: the newest of this folder)")
    parser.add_argument("--top", type=int, help="classes, or nearest stored vectors, per image")
    parser.add_argument("--check", action="store_true", help="compare the answers for the stored examples")
    arguments = parser.parse_args(argv)
    if not arguments.check and not arguments.images:
        parser.error("give the path of an image, or --check")
    try:
        folder = model_folder(arguments.model, arguments.version)
        model = Model(InferenceServerClient(arguments.url), folder, arguments.version)
        return check(model) if arguments.check else answer(model, arguments.images, arguments.top)
    except (InferenceServerException, OSError, ValueError) as error:
        print(f"client.py: {error}", file=sys.stderr)
        return 1


def model_folder(name, version):
    """The folder of a version in models/, which has the preprocessing."""
    names = sorted(path.name for path in (HERE / "models").iterdir() if path.is_dir() and path.name[0] != ".")
    if name is None and len(names) > 1:
        raise ValueError(f"this folder holds several models; choose one with --model: {', '.join(names)}")
    versions = (HERE / "models" / (name or names[0])).iterdir()
    number = version or max(int(path.name) for path in versions if path.name.isdigit())
    return HERE / "models" / (name or names[0]) / str(number)


class Model:
    """A model on the server.

    Args:
        server: a client of tritonclient.
        folder: of the version, in models/.
        version: asked for; None leaves it to the server.
    """

    def __init__(self, server, folder, version=None):
        self.server, self.folder, self.version = server, folder, version or ""
        self.spec = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))

    def run(self, image):
        """A prepared image (H, W, 3) -> {output: array without the batch}."""
        pixels = image[np.newaxis].astype(np.float32)
        images = InferInput(INPUT, pixels.shape, "FP32")
        images.set_data_from_numpy(pixels)
        names = [output["name"] for output in self.server.get_model_metadata(self.folder.parent.name)["outputs"]]
        names.sort(key=lambda name: (name != FIRST, name))
        wanted = [InferRequestedOutput(name) for name in names]
        given = self.server.infer(self.folder.parent.name, [images], self.version, outputs=wanted)
        return {name: given.as_numpy(name)[0] for name in names}


def answer(model, paths, top):
    """Print the answer for every image."""
    show = (show_classes if (model.folder / "labels.txt").is_file() else show_features)(model.folder)
    status = 0
    for path in paths:
        try:
            image = prepare(path, model.spec)
        except (OSError, ValueError, SyntaxError) as error:  # of a damaged file
            print(f"client.py: {path} cannot be read: {error}", file=sys.stderr)
            status = 1
            continue
        outputs = model.run(image)
        print(path)
        show(list(outputs.values()), top)
    return status


def check(model):
    """Compare the answers for the stored examples; print what differs."""
    stored = json.loads((model.folder / "examples.json").read_text(encoding="utf-8"))
    wrong = 0
    for file, outputs in stored["outputs"].items():
        given = model.run(prepare(model.folder / "examples" / file, model.spec))
        problems = [name for name, kept in outputs.items() if not alike(given.get(name), kept, stored["cosine"])]
        for name in problems:
            print(f"{file}: another {name} than stored")
        wrong += bool(problems)
    print(f"{model.folder.parent.name} version {model.folder.name}: {len(stored['outputs'])} images, {wrong} wrong")
    return 1 if wrong else 0


def alike(values, kept, least):
    """Whether an output has the stored shape, and a cosine of at least `least` with it."""
    if values is None or list(values.shape) != kept["shape"]:
        return False
    one, other = np.asarray(values, float).ravel()[:: kept["every"]], np.array(kept["numbers"])
    if one.size == 1:
        return bool(np.abs(one - other).max() <= (1 - least) * max(1, np.abs(other).max()))
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return bool(one @ other >= least * lengths) if lengths else bool(np.array_equal(one, other))


if __name__ == "__main__":
    sys.exit(main())
